"""Proposals to the replicated state machine: one kind byte and one encoded message.

The body is the etcd request message as the client encoded it, so a proposal costs no encoding. The
exceptions are LEASE_GRANT, a completed copy (the proposing member chooses the id and raises the TTL
to the minimum, so that all members store the same whatever their flags), and kinds that no client
sends (MEMBER_ATTRIBUTES: an `etcdserverpb.Member`; CLUSTER_VERSION: the text "3.7.0"; DOWNGRADE:
the same or nothing;
LEASE_EXPIRE: see `LeaseExpiry`; AUTHENTICATE: see `Login`; SIGNED: see `sign`; MEMBER_ADD: see
`MemberAddition`; the other membership changes: an `etcdserverpb.Member`).
"""

import struct
from enum import IntEnum
from typing import NamedTuple

from rusd.auth.errors import PermissionDenied
from rusd.auth.records import Identity, identity_of
from rusd.state.members import Member


class Kind(IntEnum):
    """First byte of a proposal. Numbers are stored in logs: never reuse one."""

    PUT = 1
    DELETE_RANGE = 2
    TXN = 3
    COMPACT = 4
    LEASE_GRANT = 5
    LEASE_REVOKE = 6
    LEASE_CHECKPOINT = 7
    ALARM = 8
    MEMBER_ATTRIBUTES = 9
    CLUSTER_VERSION = 10
    LEASE_EXPIRE = 11
    AUTH_ENABLE = 12
    AUTH_DISABLE = 13
    AUTHENTICATE = 14
    USER_ADD = 15
    USER_DELETE = 16
    USER_CHANGE_PASSWORD = 17
    USER_GRANT_ROLE = 18
    USER_REVOKE_ROLE = 19
    ROLE_ADD = 20
    ROLE_DELETE = 21
    ROLE_GRANT_PERMISSION = 22
    ROLE_REVOKE_PERMISSION = 23
    DOWNGRADE = 24
    #: A proposal with the identity of its client: see `sign`.
    SIGNED = 64
    # From `rusd.raft.ports.CHANGE` on: Raft orders these one at a time.
    MEMBER_ADD = 0xF0
    MEMBER_REMOVE = 0xF1
    MEMBER_UPDATE = 0xF2
    MEMBER_PROMOTE = 0xF3


#: Generations of kinds. A release skips a kind that it does not know, and its state would differ
#: from then on: the first proposal of a generation waits until all members can apply it.
USERS_AND_ROLES = 1
DOWNGRADES = 2
#: Txns of more levels than a release before this generation can decode.
DEEP_TXNS = 3
EARLIER_LEVELS = 49
#: The newest generation that this release applies.
FEATURES = DEEP_TXNS

_LIMIT = struct.Struct(">I")
_EXPIRY = struct.Struct(">Qq")
_IDENTITY = struct.Struct(">BQH")
#: UTF-8 bytes of a user name that a proposal can carry.
MAX_SIGNED_NAME = 0xFFFF
_PREFIX = {kind: bytes((kind,)) for kind in Kind}


def encode(kind: Kind, body: bytes) -> bytes:
    """Return the payload of a proposal."""
    return _PREFIX[kind] + body


def sign(identity: Identity, payload: bytes) -> bytes:
    """Return a proposal that is authorized at apply as a request of `identity`.

    SIGNED u8 | auth revision u64 | length of the user name u16 | user name | proposal

    Raises PermissionDenied for a name that does not fit (of a certificate: no user has one).
    """
    name = identity.user.encode()
    if len(name) > MAX_SIGNED_NAME:
        raise PermissionDenied
    return _IDENTITY.pack(Kind.SIGNED, identity.revision, len(name)) + name + payload


def unsign(payload: bytes) -> tuple[Identity, bytes]:
    """Decode the output of `sign`. Raises ValueError if it is malformed."""
    if len(payload) < _IDENTITY.size:
        raise ValueError(f"signed proposal of {len(payload)} bytes")
    _, revision, length = _IDENTITY.unpack_from(payload)
    inner = _IDENTITY.size + length
    name = payload[_IDENTITY.size : inner]
    if len(name) != length:
        raise ValueError("signed proposal ends within the user name")
    return identity_of(name.decode(), revision), payload[inner:]


class Login(NamedTuple):
    """A login whose password the proposing member has checked.

    length of the token's part u8 | random part of a simple token, or nothing | user name
    """

    user: str
    token_prefix: str

    def encode(self) -> bytes:
        prefix = self.token_prefix.encode()
        return bytes((len(prefix),)) + prefix + self.user.encode()

    @classmethod
    def decode(cls, body: bytes) -> "Login":
        """Raises ValueError if `body` is malformed."""
        if not body or len(body) <= body[0]:
            raise ValueError(f"login of {len(body)} bytes")
        end = 1 + body[0]
        return cls(body[end:].decode(), body[1:end].decode())


class MemberAddition(NamedTuple):
    """A member to add, with the learner limit of the proposing member: with each member's own limit
    their states would differ.
    """

    max_learners: int
    #: Id, peer URLs and whether it is a learner.
    member: Member

    def encode(self) -> bytes:
        return _LIMIT.pack(self.max_learners) + self.member.message().SerializeToString()

    @classmethod
    def decode(cls, body: bytes) -> "MemberAddition":
        """Raises ValueError or protobuf's DecodeError if `body` is malformed."""
        if len(body) < _LIMIT.size:
            raise ValueError(f"addition of {len(body)} bytes")
        return cls(_LIMIT.unpack_from(body)[0], Member.parse(body[_LIMIT.size :]))


class LeaseExpiry(NamedTuple):
    """A lease that expired by the clock of the leader of `term`.

    Valid only in an entry of that term: Raft may propose it again after its leader is gone, but the
    next leader started the lease anew and may have renewed it since.
    """

    term: int
    lease_id: int

    def encode(self) -> bytes:
        return _EXPIRY.pack(*self)

    @classmethod
    def decode(cls, body: bytes) -> "LeaseExpiry":
        """Raises ValueError if `body` is malformed."""
        if len(body) != _EXPIRY.size:
            raise ValueError(f"expiry of {len(body)} bytes")
        return cls(*_EXPIRY.unpack(body))
