"""Replicated membership: members, removed ids, cluster id, cluster version.

Bootstrap writes the first membership (the same on all members, from --initial-cluster). Later,
MEMBER_ATTRIBUTES publishes a member's name and client URLs when it starts serving, and additions,
removals, updates and promotions change the members. Validity is checked at apply, with etcd's
refusals. A removed id is never reused. The cluster id is fixed at bootstrap; the leader sets the
cluster version.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from rusd import STORAGE_VERSION
from rusd.proto import rpc_pb2 as rpc
from rusd.raft.ports import Membership
from rusd.state.errors import (
    LastVoter,
    MemberExists,
    MemberNotFound,
    NotLearner,
    PeerUrlExists,
    TooManyLearners,
)
from rusd.storage import Batch, Engine, Family

_ID = struct.Struct(">Q")
_MEMBER_PREFIX = b"member/"
_MEMBER_END = b"member0"
_REMOVED_PREFIX = b"removed/"
_REMOVED_END = b"removed0"
_CLUSTER_ID = b"cluster/id"
_CLUSTER_VERSION = b"cluster/version"
_DOWNGRADE_TARGET = b"cluster/downgrade"


@dataclass(frozen=True, slots=True)
class Member:
    """One member; `name` is empty until the member published its attributes."""

    id: int
    name: str = ""
    peer_urls: tuple[str, ...] = ()
    client_urls: tuple[str, ...] = ()
    is_learner: bool = False

    def message(self) -> rpc.Member:
        """Returns the etcd message of MemberList."""
        return rpc.Member(
            ID=self.id,
            name=self.name,
            peerURLs=self.peer_urls,
            clientURLs=self.client_urls,
            isLearner=self.is_learner,
        )

    @classmethod
    def parse(cls, encoded: bytes) -> "Member":
        """Decodes an encoded `rpc.Member`. Raises protobuf's DecodeError if it is malformed."""
        message = rpc.Member.FromString(encoded)
        return cls(
            message.ID,
            message.name,
            tuple(message.peerURLs),
            tuple(message.clientURLs),
            message.isLearner,
        )


class Members:
    """The membership, in memory and in the family MEMBER. Iterates in the order of ids."""

    def __init__(self) -> None:
        self._members: dict[int, Member] = {}
        #: Ids of removed members.
        self.removed: set[int] = set()
        #: 0 until bootstrapped.
        self.cluster_id = 0
        #: For example "3.7.0"; None until the leader sets it.
        self.cluster_version: str | None = None
        #: The version that the cluster is being downgraded to.
        self.downgrade_target: str | None = None

    def load(self, engine: Engine) -> None:
        """Read the stored membership, in place of that in memory."""
        records = engine.scan(Family.MEMBER, _MEMBER_PREFIX, _MEMBER_END)
        self._members = {member.id: member for member in (Member.parse(v) for _, v in records)}
        removed = engine.scan(Family.MEMBER, _REMOVED_PREFIX, _REMOVED_END)
        self.removed = {_ID.unpack_from(key, len(_REMOVED_PREFIX))[0] for key, _ in removed}
        cluster_id = engine.get(Family.MEMBER, _CLUSTER_ID)
        self.cluster_id = _ID.unpack(cluster_id)[0] if cluster_id else 0
        version = engine.get(Family.MEMBER, _CLUSTER_VERSION)
        self.cluster_version = version.decode() if version else None
        target = engine.get(Family.MEMBER, _DOWNGRADE_TARGET)
        self.downgrade_target = target.decode() if target else None

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Member]:
        return iter(sorted(self._members.values(), key=lambda member: member.id))

    def get(self, member_id: int) -> Member | None:
        return self._members.get(member_id)

    def membership(self) -> Membership:
        """Returns the membership in Raft's terms."""
        learners = frozenset(member.id for member in self if member.is_learner)
        return Membership(
            frozenset(self._members) - learners,
            learners,
            {member.id: member.peer_urls for member in self},
            frozenset(self.removed),
            frozenset(member.id for member in self if member.client_urls),
        )

    def bootstrap(self, batch: Batch, members: Sequence[Member], cluster_id: int) -> None:
        """Write the first membership of a cluster."""
        self.cluster_id = cluster_id
        batch.put(Family.MEMBER, _CLUSTER_ID, _ID.pack(cluster_id))
        for member in members:
            self._store(batch, member)

    def publish(self, batch: Batch, member_id: int, name: str, client_urls: Sequence[str]) -> None:
        """Set a member's name and client URLs. Raises MemberNotFound if it is not in the
        cluster.
        """
        member = self._existing(member_id)
        self._store(batch, replace(member, name=name, client_urls=tuple(client_urls)))

    def add(self, batch: Batch, member: Member, max_learners: int) -> None:
        """Add a member. Raises MemberNotFound for a removed id, MemberExists, PeerUrlExists or
        TooManyLearners.
        """
        if member.id in self.removed:
            raise MemberNotFound
        if member.id in self._members:
            raise MemberExists
        self._refuse_taken(member)
        learners = sum(one.is_learner for one in self)
        if member.is_learner and learners >= max_learners:
            raise TooManyLearners
        self._store(batch, member)

    def remove(self, batch: Batch, member_id: int) -> None:
        """Remove a member. Raises MemberNotFound; LastVoter for the last voter (Raft would end
        there).
        """
        self._existing(member_id)
        if not any(one.id != member_id and not one.is_learner for one in self):
            raise LastVoter
        del self._members[member_id]
        self.removed.add(member_id)
        batch.delete(Family.MEMBER, _MEMBER_PREFIX + _ID.pack(member_id))
        batch.put(Family.MEMBER, _REMOVED_PREFIX + _ID.pack(member_id), b"")

    def update(self, batch: Batch, member_id: int, peer_urls: Sequence[str]) -> None:
        """Replace the peer URLs. Raises MemberNotFound or PeerUrlExists."""
        updated = replace(self._existing(member_id), peer_urls=tuple(peer_urls))
        self._refuse_taken(updated)
        self._store(batch, updated)

    def promote(self, batch: Batch, member_id: int) -> None:
        """Make a learner a voter. Raises MemberNotFound or NotLearner."""
        member = self._existing(member_id)
        if not member.is_learner:
            raise NotLearner
        self._store(batch, replace(member, is_learner=False))

    def _existing(self, member_id: int) -> Member:
        member = self._members.get(member_id)
        if member is None:
            raise MemberNotFound
        return member

    def _refuse_taken(self, member: Member) -> None:
        others = (one for one in self if one.id != member.id)
        if any(not set(one.peer_urls).isdisjoint(member.peer_urls) for one in others):
            raise PeerUrlExists

    def set_cluster_version(self, batch: Batch, version: str) -> None:
        """Set the cluster version, such as 3.6.0."""
        self.cluster_version = version
        batch.put(Family.MEMBER, _CLUSTER_VERSION, version.encode())

    def set_downgrade_target(self, batch: Batch, version: str | None) -> None:
        """Set the target version of a downgrade; None cancels it."""
        self.downgrade_target = version
        batch.put(Family.MEMBER, _DOWNGRADE_TARGET, (version or "").encode())

    @property
    def storage_version(self) -> str:
        """The storage schema that etcd would use at this cluster version."""
        return self.cluster_version or STORAGE_VERSION

    def _store(self, batch: Batch, member: Member) -> None:
        self._members[member.id] = member
        encoded = member.message().SerializeToString(deterministic=True)
        batch.put(Family.MEMBER, _MEMBER_PREFIX + _ID.pack(member.id), encoded)
