"""Empties a store by the calls of any client: rusd and etcd are treated alike.

What is left is the revision, which only grows, and the history, until it is compacted.
"""

from __future__ import annotations

from collections.abc import Iterator

from .. import wire

_KV = "/etcdserverpb.KV/"
_LEASE = "/etcdserverpb.Lease/"
_AUTH = "/etcdserverpb.Auth/"
ALARM = "/etcdserverpb.Maintenance/Alarm"

#: DeleteRangeRequest{key: "\\0", range_end: "\\0"}: every key.
_ALL_KEYS = wire.field(1, b"\0") + wire.field(2, b"\0")
#: AlarmRequest.action (GET is 0).
_DEACTIVATE = 2
_LEASE_NOT_FOUND = "requested lease not found"


def wipe(endpoint: str, access: wire.Access, timeout: float = 5.0) -> None:
    """Remove alarms, authentication, users, roles, keys and leases. Raises NoAnswer.

    `access` needs a token of a user with the role root if authentication is enabled.
    """
    with wire.connected(endpoint, timeout, access) as ask:
        # An alarm refuses some of the calls below.
        for alarm in _messages(ask(ALARM, b""), 2):
            fields = dict(wire.fields_of(alarm))
            member, kind = fields.get(1, 0), fields.get(2, 0)
            request = wire.field(1, _DEACTIVATE) + wire.field(2, member) + wire.field(3, kind)
            ask(ALARM, request)
        if dict(wire.fields_of(ask(_AUTH + "AuthStatus", b""))).get(2, 0):
            ask(_AUTH + "AuthDisable", b"")
        for user in _messages(ask(_AUTH + "UserList", b""), 2):
            ask(_AUTH + "UserDelete", wire.field(1, user))
        for role in _messages(ask(_AUTH + "RoleList", b""), 2):
            ask(_AUTH + "RoleDelete", wire.field(1, role))
        ask(_KV + "DeleteRange", _ALL_KEYS)
        for lease in _messages(ask(_LEASE + "LeaseLeases", b""), 2):
            _revoke(ask, dict(wire.fields_of(lease)).get(1, 0))


def _revoke(ask: wire.Ask, lease: int | bytes) -> None:
    try:
        ask(_LEASE + "LeaseRevoke", wire.field(1, lease))
    except wire.NoAnswer as refused:
        if _LEASE_NOT_FOUND not in str(refused):
            raise  # else it expired meanwhile


def _messages(answer: bytes, number: int) -> Iterator[bytes]:
    """Return the values of a repeated field of messages or strings."""
    return (
        value
        for found, value in wire.fields_of(answer)
        if found == number and isinstance(value, bytes)
    )
