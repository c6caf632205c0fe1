"""Requests of etcd's log as proposals to the state machine.

A request of etcd is a message with one of many fields set (`etcdserverpb.InternalRaftRequest`). The
field holds the message that the client sent, which is the body of a proposal as well.

Requests that change no key, lease, user, role or alarm are left out: those on the cluster that was
(its members, version and downgrade), reads that etcd passes through its log, and logins, whose
tokens end with a restart.
"""

from typing import Final

from google.protobuf.message import DecodeError

from rusd.auth.records import identity_of
from rusd.backup.errors import SnapshotError
from rusd.etcd_wal import Entry
from rusd.etcd_wal.fields import Value, read_fields
from rusd.proto import rpc_pb2 as rpc
from rusd.state.command import Kind, encode, sign

#: Seconds. A lease of less is given so many, as etcd does when it grants or loads one (with its
#: default election timeout).
MIN_TTL: Final = 2

_HEADER: Final = 100
_ID: Final = 1
_V2: Final = 2

#: Field of the request -> kind of the proposal.
_KINDS: Final = {
    4: Kind.PUT,
    5: Kind.DELETE_RANGE,
    6: Kind.TXN,
    7: Kind.COMPACT,
    8: Kind.LEASE_GRANT,
    9: Kind.LEASE_REVOKE,
    10: Kind.ALARM,
    11: Kind.LEASE_CHECKPOINT,
    1000: Kind.AUTH_ENABLE,
    1011: Kind.AUTH_DISABLE,
    1100: Kind.USER_ADD,
    1101: Kind.USER_DELETE,
    1103: Kind.USER_CHANGE_PASSWORD,
    1104: Kind.USER_GRANT_ROLE,
    1105: Kind.USER_REVOKE_ROLE,
    1200: Kind.ROLE_ADD,
    1201: Kind.ROLE_DELETE,
    1203: Kind.ROLE_GRANT_PERMISSION,
    1204: Kind.ROLE_REVOKE_PERMISSION,
}
#: Fields of requests that are left out.
_LEFT_OUT: Final = frozenset((3, 1012, 1013, 1102, 1106, 1107, 1202, 1300, 1301, 1302, 9900))
#: Methods of the v2 API.
_V2_METHODS: Final = frozenset((b"PUT", b"POST", b"DELETE", b"SYNC", b"QGET"))
#: Paths of the v2 API's keys. etcd keeps members and cluster version beside them.
_V2_KEYS: Final = b"/1"


def proposal_of(entry: Entry) -> bytes | None:
    """Return the proposal that does what an entry of etcd's log does, None if nothing is to do.

    Raises SnapshotError for an entry that cannot be applied.
    """
    if not entry.is_request or not entry.data:
        return None
    try:
        return _proposal(entry)
    except (ValueError, DecodeError) as error:
        raise _refusal(entry, str(error)) from error


def _proposal(entry: Entry) -> bytes | None:
    # (etcd 3.5 writes a request of the v2 API without the message around it.)
    fields = read_fields(entry.data)
    if _is_v2(fields):
        _refuse_v2_keys(entry, fields)
        return None
    header = fields.pop(_HEADER, b"")
    fields.pop(_ID, None)
    v2 = fields.pop(_V2, None)
    if isinstance(v2, bytes) and not fields:
        _refuse_v2_keys(entry, read_fields(v2))
        return None
    if v2 is not None or len(fields) != 1:
        raise _refusal(entry, f"fields {sorted(fields)}")
    ((number, body),) = fields.items()
    if number in _LEFT_OUT:
        return None
    kind = _KINDS.get(number)
    if kind is None:
        raise _refusal(entry, f"field {number} is not known")
    if not isinstance(body, bytes) or not isinstance(header, bytes):
        raise _refusal(entry, "not a request")
    proposal = encode(kind, _body(entry, kind, body))
    caller = read_fields(header)
    user, revision = caller.get(2, b""), caller.get(3, 0)
    if not isinstance(user, bytes) or not isinstance(revision, int):
        raise _refusal(entry, "not a request")
    return sign(identity_of(user.decode(), revision), proposal) if user else proposal


def _body(entry: Entry, kind: Kind, body: bytes) -> bytes:
    """Return the body as rusd's members propose it."""
    if kind is Kind.LEASE_GRANT:
        grant = rpc.LeaseGrantRequest.FromString(body)
        grant.TTL = max(grant.TTL, MIN_TTL)
        return grant.SerializeToString()
    if kind is Kind.USER_ADD:
        added = rpc.AuthUserAddRequest.FromString(body)
        _refuse_plain(entry, added.password, added.hashedPassword)
    if kind is Kind.USER_CHANGE_PASSWORD:
        changed = rpc.AuthUserChangePasswordRequest.FromString(body)
        _refuse_plain(entry, changed.password, changed.hashedPassword)
    return body


def _refuse_plain(entry: Entry, password: str, hashed: str) -> None:
    """Raise SnapshotError for a password that is to be hashed: each member would choose another
    salt.
    """
    if password and not hashed:
        raise _refusal(entry, "a password that is not hashed")


def _is_v2(fields: dict[int, Value]) -> bool:
    return fields.get(2) in _V2_METHODS and isinstance(fields.get(3, b""), bytes)


def _refuse_v2_keys(entry: Entry, fields: dict[int, Value]) -> None:
    """Raise SnapshotError for a request that changes keys of the v2 API."""
    path = fields.get(3, b"")
    if not isinstance(path, bytes) or path.startswith(_V2_KEYS):
        raise _refusal(entry, "a key of the v2 API, which has no counterpart")


def _refusal(entry: Entry, why: str) -> SnapshotError:
    return SnapshotError(
        f"entry {entry.index} of the write-ahead log cannot be applied ({why}): start etcd on the "
        "directory, take a snapshot with 'etcdctl snapshot save' and use 'rusdutl snapshot restore'"
    )
