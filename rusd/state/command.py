"""Proposals to the replicated state machine: one kind byte and one encoded message.

The body is the etcd request message as the client encoded it, so a proposal costs no encoding. The
exceptions are LEASE_GRANT, a completed copy (the proposing member chooses the id and raises the TTL
to the minimum, so that all members store the same whatever their flags), and kinds that no client
sends (MEMBER_ATTRIBUTES: an `etcdserverpb.Member`; CLUSTER_VERSION: the text "3.6.0";
LEASE_EXPIRE: see `LeaseExpiry`; MEMBER_ADD: see `MemberAddition`; the other membership changes: an
`etcdserverpb.Member`).
"""

import struct
from enum import IntEnum
from typing import NamedTuple

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
    # From `rusd.raft.ports.CHANGE` on: Raft orders these one at a time.
    MEMBER_ADD = 0xF0
    MEMBER_REMOVE = 0xF1
    MEMBER_UPDATE = 0xF2
    MEMBER_PROMOTE = 0xF3


_LIMIT = struct.Struct(">I")
_EXPIRY = struct.Struct(">Qq")
_PREFIX = {kind: bytes((kind,)) for kind in Kind}


def encode(kind: Kind, body: bytes) -> bytes:
    """The payload of a proposal."""
    return _PREFIX[kind] + body


class MemberAddition(NamedTuple):
    """A member to add, and the learner limit of the proposing member's flags: a limit taken from
    each member's own flags would let their states differ."""

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
