"""ResponseHeader: cluster id, member id, revision and Raft term of a response."""

from rusd.proto import rpc_pb2 as rpc
from rusd.wire.keyvalue import varint


class Headers:
    """The headers of one member, encoded or as messages."""

    def __init__(self, cluster_id: int, member_id: int, term: int) -> None:
        """`term`: the member's Raft term now; `on_role` brings later ones."""
        self._cluster_id = cluster_id
        self._member_id = member_id
        self._term = term
        self._ids = b"\x08" + varint(cluster_id) + b"\x10" + varint(member_id)
        #: The encoded header of one revision and the current term.
        self._revision = -1
        self._field = b""

    def on_role(self, leader_id: int, term: int, is_leader: bool) -> None:
        """A `rusd.raft.ports.RoleListener`: called once the term is durable."""
        self._term = term
        self._revision = -1

    def field(self, revision: int) -> bytes:
        """Field 1 of a response, encoded, with tag and length. Cached for one revision and term."""
        if revision != self._revision:
            header = self._ids
            if revision:
                header += b"\x18" + varint(revision)
            if self._term:
                header += b"\x20" + varint(self._term)
            self._field = b"\x0a" + varint(len(header)) + header
            self._revision = revision
        return self._field

    def message(self, revision: int) -> rpc.ResponseHeader:
        """The header as a message. Responses of the Cluster service have revision 0, as etcd's."""
        return rpc.ResponseHeader(
            cluster_id=self._cluster_id,
            member_id=self._member_id,
            revision=revision,
            raft_term=self._term,
        )
