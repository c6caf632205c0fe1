"""Who belongs to the cluster, as the replicated state knows it.

Written once at bootstrap (all members write the same from --initial-cluster), then changed by
MEMBER_ATTRIBUTES: a member publishes its name and client URLs when it starts serving. The cluster
id is fixed at bootstrap; the cluster version is set by the leader.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from rusd.errors import MEMBER_NOT_FOUND
from rusd.proto import rpc_pb2 as rpc
from rusd.storage import Batch, Engine, Family

_ID = struct.Struct(">Q")
_MEMBER_PREFIX = b"member/"
_MEMBER_END = b"member0"
_CLUSTER_ID = b"cluster/id"
_CLUSTER_VERSION = b"cluster/version"


@dataclass(frozen=True, slots=True)
class Member:
    """One member; `name` is empty until it has published itself."""

    id: int
    name: str = ""
    peer_urls: tuple[str, ...] = ()
    client_urls: tuple[str, ...] = ()
    is_learner: bool = False

    def message(self) -> rpc.Member:
        """As the etcd message of MemberList."""
        return rpc.Member(
            ID=self.id,
            name=self.name,
            peerURLs=self.peer_urls,
            clientURLs=self.client_urls,
            isLearner=self.is_learner,
        )

    @classmethod
    def parse(cls, encoded: bytes) -> "Member":
        """The inverse of `message().SerializeToString()`; protobuf's DecodeError if it is not."""
        message = rpc.Member.FromString(encoded)
        return cls(
            message.ID,
            message.name,
            tuple(message.peerURLs),
            tuple(message.clientURLs),
            message.isLearner,
        )


class Members:
    """The membership, in memory and in the MEMBER family. Iterates in the order of ids."""

    def __init__(self) -> None:
        self._members: dict[int, Member] = {}
        #: 0 until bootstrapped.
        self.cluster_id = 0
        #: Such as "3.6.0"; None until the leader has set it.
        self.cluster_version: str | None = None

    def load(self, engine: Engine) -> None:
        """Forget everything and read the stored membership."""
        records = engine.scan(Family.MEMBER, _MEMBER_PREFIX, _MEMBER_END)
        self._members = {member.id: member for member in (Member.parse(v) for _, v in records)}
        cluster_id = engine.get(Family.MEMBER, _CLUSTER_ID)
        self.cluster_id = _ID.unpack(cluster_id)[0] if cluster_id else 0
        version = engine.get(Family.MEMBER, _CLUSTER_VERSION)
        self.cluster_version = version.decode() if version else None

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Member]:
        return iter(sorted(self._members.values(), key=lambda member: member.id))

    def get(self, member_id: int) -> Member | None:
        return self._members.get(member_id)

    def bootstrap(self, batch: Batch, members: Sequence[Member], cluster_id: int) -> None:
        """The first membership of a cluster that has none yet."""
        self.cluster_id = cluster_id
        batch.put(Family.MEMBER, _CLUSTER_ID, _ID.pack(cluster_id))
        for member in members:
            self._store(batch, member)

    def publish(self, batch: Batch, member_id: int, name: str, client_urls: Sequence[str]) -> None:
        """A member tells its name and client URLs; MEMBER_NOT_FOUND if it is none of ours."""
        member = self._members.get(member_id)
        if member is None:
            raise MEMBER_NOT_FOUND
        self._store(batch, replace(member, name=name, client_urls=tuple(client_urls)))

    def set_cluster_version(self, batch: Batch, version: str) -> None:
        self.cluster_version = version
        batch.put(Family.MEMBER, _CLUSTER_VERSION, version.encode())

    def _store(self, batch: Batch, member: Member) -> None:
        self._members[member.id] = member
        encoded = member.message().SerializeToString(deterministic=True)
        batch.put(Family.MEMBER, _MEMBER_PREFIX + _ID.pack(member.id), encoded)
