"""Records of etcd's database, as bytes.

Source: the buckets of etcd 3.7 (`server/storage/schema`) and what they hold. The keys have the
same encoding here and there; see `rusd/mvcc`.
"""

import json
import struct
from typing import Final

from rusd.mvcc.revision import revision_key
from rusd.proto import lease_pb2
from rusd.state.leases import Lease
from rusd.state.members import Member

ALARM: Final = b"alarm"
AUTH: Final = b"auth"
AUTH_ROLES: Final = b"authRoles"
AUTH_USERS: Final = b"authUsers"
CLUSTER: Final = b"cluster"
KEY: Final = b"key"
LEASE: Final = b"lease"
MEMBERS: Final = b"members"
MEMBERS_REMOVED: Final = b"members_removed"
META: Final = b"meta"

AUTH_ENABLED: Final = b"authEnabled"
AUTH_REVISION: Final = b"authRevision"
CLUSTER_VERSION: Final = b"clusterVersion"
DOWNGRADE: Final = b"downgrade"
CONF_STATE: Final = b"confState"
CONSISTENT_INDEX: Final = b"consistent_index"
FINISHED_COMPACTION: Final = b"finishedCompactRev"
SCHEDULED_COMPACTION: Final = b"scheduledCompactRev"
STORAGE_VERSION: Final = b"storageVersion"
TERM: Final = b"term"

REMOVED: Final = b"removed"

_U64 = struct.Struct(">Q")
_I64 = struct.Struct(">q")


def number(value: int) -> bytes:
    """Encode an index, a term or the revision of auth."""
    return _U64.pack(value)


def parse_number(encoded: bytes) -> int:
    """Decode what `number` encoded. Raises struct.error."""
    return int(_U64.unpack(encoded)[0])


def compaction_marks(scheduled: int, finished: int) -> dict[bytes, bytes]:
    """Encode the revisions of the last compaction and of the last one that is finished; negative:
    there is none.
    """
    marks = {SCHEDULED_COMPACTION: scheduled, FINISHED_COMPACTION: finished}
    return {name: revision_key(mark) for name, mark in marks.items() if mark >= 0}


def member_key(member_id: int) -> bytes:
    """Encode the key of a member."""
    return b"%x" % member_id


def member(one: Member) -> bytes:
    """Encode a member."""
    record: dict[str, object] = {"id": one.id, "peerURLs": one.peer_urls}
    if one.is_learner:
        record["isLearner"] = True
    if one.name:
        record["name"] = one.name
    if one.client_urls:
        record["clientURLs"] = one.client_urls
    return _json(record)


def conf_state(members: list[Member]) -> bytes:
    """Encode the voters and learners of Raft."""
    record: dict[str, object] = {"voters": [one.id for one in members if not one.is_learner]}
    if learners := [one.id for one in members if one.is_learner]:
        record["learners"] = learners
    return _json({**record, "auto_leave": False})


def downgrade(target: str) -> bytes:
    """Encode the downgrade under way."""
    return _json({"target-version": target, "enabled": True})


def lease_key(lease_id: int) -> bytes:
    """Encode the key of a lease."""
    return _I64.pack(lease_id)


def lease(one: Lease) -> bytes:
    """Encode a lease. etcd finds its keys by their own records."""
    message = lease_pb2.Lease(ID=one.id, TTL=one.ttl, RemainingTTL=one.remaining_ttl)
    return message.SerializeToString(deterministic=True)


def _json(record: object) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode()
