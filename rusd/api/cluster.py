"""etcdserverpb.Cluster: who the members are."""

import re
from collections.abc import Iterable
from typing import Protocol

from rusd.api.header import Headers
from rusd.api.pending import after
from rusd.api.require_leader import RequireLeader
from rusd.api.seam import Answer, Call, Methods, Unary
from rusd.errors import (
    MEMBER_BAD_URLS,
    MEMBER_NOT_FOUND,
    MEMBER_NOT_LEARNER,
    PEER_URL_EXISTS,
    Code,
    EtcdError,
)
from rusd.pending import Pending
from rusd.proto import rpc_pb2 as rpc
from rusd.state.members import Member, Members

#: scheme://host:port as etcd takes a peer URL: no path, any port of digits; the host may be empty.
_PEER_URL = re.compile(
    r"(http|https|unix|unixs)://"
    r"([^/?#@]*@)?"
    r"(\[[^/?#@\]]*\]|[^/?#@\[\]:]*):[0-9]+"
    r"([?#].*)?",
    re.IGNORECASE | re.DOTALL,
)


class Node(Protocol):
    """What the service needs of Raft."""

    def read_index(self) -> Pending[None]: ...


class Machine(Protocol):
    """What the service needs of the state machine."""

    @property
    def members(self) -> Members: ...


def _unsupported(what: str) -> EtcdError:
    return EtcdError(Code.UNIMPLEMENTED, f"rusd: {what} is not supported yet")


class ClusterService:
    """Membership. Changing it at run time is refused, plainly, until it is built."""

    def __init__(
        self, node: Node, machine: Machine, headers: Headers, require_leader: RequireLeader
    ) -> None:
        self._node = node
        self._machine = machine
        self._headers = headers
        self._require_leader = require_leader

    def methods(self) -> Methods:
        """The service by gRPC path."""
        service = "/etcdserverpb.Cluster/"
        return {
            service + "MemberList": Unary(rpc.MemberListRequest, self.member_list),
            service + "MemberAdd": Unary(rpc.MemberAddRequest, self.member_add),
            service + "MemberRemove": Unary(rpc.MemberRemoveRequest, self.member_remove),
            service + "MemberUpdate": Unary(rpc.MemberUpdateRequest, self.member_update),
            service + "MemberPromote": Unary(rpc.MemberPromoteRequest, self.member_promote),
        }

    def member_list(self, request: rpc.MemberListRequest, call: Call) -> Answer:
        """All members by id; linearizable if asked."""
        self._require_leader.check(call)
        if request.linearizable:
            return after(self._node.read_index(), lambda _: self._listed())
        return self._listed()

    def _listed(self) -> bytes:
        members = [member.message() for member in self._machine.members]
        response = rpc.MemberListResponse(header=self._headers.message(0), members=members)
        return response.SerializeToString()

    def member_add(self, request: rpc.MemberAddRequest, call: Call) -> Answer:
        """MEMBER_BAD_URLS for what is no peer URL, PEER_URL_EXISTS for a member's; else refused."""
        self._require_leader.check(call)
        if not request.peerURLs or not all(map(_is_peer_url, request.peerURLs)):
            raise MEMBER_BAD_URLS
        self._refuse_taken(request.peerURLs, 0)
        raise _unsupported("adding a member at run time")

    def member_remove(self, request: rpc.MemberRemoveRequest, call: Call) -> Answer:
        """MEMBER_NOT_FOUND for an unknown id; else refused."""
        self._require_leader.check(call)
        self._known(request.ID)
        raise _unsupported("removing a member at run time")

    def member_update(self, request: rpc.MemberUpdateRequest, call: Call) -> Answer:
        """MEMBER_NOT_FOUND for an unknown id, PEER_URL_EXISTS for another's URL; else refused."""
        self._require_leader.check(call)
        self._known(request.ID)
        self._refuse_taken(request.peerURLs, request.ID)
        raise _unsupported("changing a member's peer URLs")

    def member_promote(self, request: rpc.MemberPromoteRequest, call: Call) -> Answer:
        """MEMBER_NOT_FOUND for an unknown id; MEMBER_NOT_LEARNER for a voter; else refused."""
        self._require_leader.check(call)
        if not self._known(request.ID).is_learner:
            raise MEMBER_NOT_LEARNER
        raise _unsupported("promoting a learner")

    def _known(self, member_id: int) -> Member:
        member = self._machine.members.get(member_id)
        if member is None:
            raise MEMBER_NOT_FOUND
        return member

    def _refuse_taken(self, urls: Iterable[str], owner: int) -> None:
        """PEER_URL_EXISTS if a member other than `owner` has one of the URLs."""
        others = (member for member in self._machine.members if member.id != owner)
        taken = {url for member in others for url in member.peer_urls}
        if not taken.isdisjoint(urls):
            raise PEER_URL_EXISTS


def _is_peer_url(url: str) -> bool:
    return _PEER_URL.fullmatch(url.strip()) is not None
