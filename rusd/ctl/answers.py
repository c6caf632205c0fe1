"""The members' JSON as etcdctl writes it.

The gateway writes 64-bit numbers as strings and enumerations by name (proto3's JSON mapping);
etcdctl writes both as numbers (Go's). Bytes are base64 in both.
"""

from __future__ import annotations

from base64 import b64decode
from typing import Any

#: Fields that are 64-bit numbers. `version` is a number in a key, and text in a status.
_NUMBERS = frozenset(
    [
        *("cluster_id", "member_id", "memberID", "ID", "revision", "raft_term", "count", "deleted"),
        *("create_revision", "mod_revision", "version", "lease", "leader", "remaining_bytes"),
        *("dbSize", "dbSizeInUse", "dbSizeQuota", "raftIndex", "raftTerm", "raftAppliedIndex"),
        *("hash_revision", "compact_revision"),
    ]
)
_ALARMS = ("NONE", "NOSPACE", "CORRUPT")


def as_etcdctl(value: Any, field: str = "") -> Any:
    """Return a message, or a part of it, with numbers where etcdctl has them."""
    if isinstance(value, dict):
        return {name: as_etcdctl(each, name) for name, each in value.items()}
    if isinstance(value, list):
        return [as_etcdctl(each, field) for each in value]
    if isinstance(value, str) and field == "alarm" and value in _ALARMS:
        return _ALARMS.index(value)
    if isinstance(value, str) and field in _NUMBERS and value.removeprefix("-").isdecimal():
        return int(value)
    return value


def alarm_name(number: int) -> str:
    """Return etcd's name of an alarm."""
    return _ALARMS[number] if 0 <= number < len(_ALARMS) else str(number)


def key_and_value(pair: dict[str, Any]) -> tuple[bytes, bytes]:
    """Return the bytes of a key and of its value."""
    return b64decode(pair.get("key", "")), b64decode(pair.get("value", ""))
