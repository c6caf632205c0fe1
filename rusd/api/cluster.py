"""etcdserverpb.Cluster: the member list and its changes.

A change is proposed like a write, in an entry of its own. Validity is checked at apply
(`rusd/state/members.py`); the strict reconfiguration check runs before proposing, on what this
member sees of the others (`strict_reconfig.py`).
"""

import struct
import time
from collections.abc import Callable
from typing import Protocol

from rusd.api.strict_reconfig import StrictReconfigCheck
from rusd.base.chunks import Encoded, concatenated
from rusd.base.urls import Url
from rusd.proto import rpc_pb2 as rpc
from rusd.raft.bodies import decoded_question
from rusd.raft.interface import PeerCalls, Proposer, ReadIndex, Role
from rusd.rpc.authentication import Authenticator
from rusd.rpc.call import Call
from rusd.rpc.errors import (
    LEARNER_NOT_READY,
    MEMBER_BAD_URLS,
    MEMBER_NOT_FOUND,
    NO_LEADER,
    NOT_LEADER,
)
from rusd.rpc.methods import Methods, Unary
from rusd.rpc.responses import Response
from rusd.state.command import Kind, MemberAddition, encode
from rusd.state.identity import member_id
from rusd.state.interface import WithMembers
from rusd.state.members import Member
from rusd.state.result import Applied
from rusd.wire.header import Headers

#: Part of the leader's log that a learner must hold to be promoted (etcd's readyPercentThreshold).
READY = 0.9
#: Seconds that a follower waits for the leader to promote a learner.
PROMOTE_TIMEOUT = 7.0

_ID = struct.Struct(">Q")


class Node(Role, Proposer, ReadIndex, PeerCalls, Protocol):
    """The part of the Raft node in use."""

    def progress(self, member_id: int) -> float | None:
        """The part of this leader's log that a member holds; None if it is not a member."""


class ClusterService:
    """etcdserverpb.Cluster."""

    def __init__(
        self,
        node: Node,
        machine: WithMembers,
        headers: Headers,
        authenticator: Authenticator,
        strict: StrictReconfigCheck | None = None,
        *,
        max_learners: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`strict`: None with `--strict-reconfig-check=false`.

        `clock`: seconds, that of `strict`.
        """
        self._node = node
        self._machine = machine
        self._headers = headers
        self._authenticator = authenticator
        self._strict = strict
        self._max_learners = max_learners
        self._clock = clock
        node.serve("promote", self._promote_for_another)

    def methods(self) -> Methods:
        """gRPC path -> method."""
        service = "/etcdserverpb.Cluster/"
        return {
            service + "MemberList": Unary(rpc.MemberListRequest, self.member_list),
            service + "MemberAdd": Unary(rpc.MemberAddRequest, self.member_add, _peer_urls),
            service + "MemberRemove": Unary(rpc.MemberRemoveRequest, self.member_remove),
            service + "MemberUpdate": Unary(rpc.MemberUpdateRequest, self.member_update),
            service + "MemberPromote": Unary(rpc.MemberPromoteRequest, self.member_promote),
        }

    def member_list(self, request: rpc.MemberListRequest, call: Call) -> Response:
        """Lists the members by id, after a read index if the request is linearizable."""
        if request.linearizable:
            return self._node.read_index().then(lambda _: self._listed_behind(call))
        return self._listed()

    def _listed_behind(self, call: Call) -> bytes:
        # (Authentication may have been enabled while the call waited.)
        self._authenticator.require_user(call)
        return self._listed()

    def _listed(self) -> bytes:
        members = [member.message() for member in self._machine.members]
        response = rpc.MemberListResponse(header=self._headers.message(0), members=members)
        return response.SerializeToString()

    def member_add(self, request: rpc.MemberAddRequest, call: Call) -> Response:
        """Raises PEER_URL_EXISTS, TOO_MANY_LEARNERS; with the strict check also
        MEMBER_NOT_ENOUGH_STARTED, UNHEALTHY.
        """
        urls = _peer_urls(request)
        if self._strict is not None:
            self._strict.addition(request.isLearner, self._clock())
        member = Member(
            id=member_id(urls, "", int(time.time())), peer_urls=urls, is_learner=request.isLearner
        )
        return self._change(Kind.MEMBER_ADD, MemberAddition(self._max_learners, member).encode())

    def member_remove(self, request: rpc.MemberRemoveRequest, call: Call) -> Response:
        """Raises MEMBER_NOT_FOUND; with the strict check also MEMBER_NOT_ENOUGH_STARTED,
        UNHEALTHY.
        """
        if self._strict is not None:
            self._strict.removal(request.ID, self._clock())
        return self._change(Kind.MEMBER_REMOVE, rpc.Member(ID=request.ID).SerializeToString())

    def member_update(self, request: rpc.MemberUpdateRequest, call: Call) -> Response:
        """Raises MEMBER_NOT_FOUND; PEER_URL_EXISTS for a URL of another member.

        URLs are not parsed, as in etcd: a malformed one leaves the member unreachable.
        """
        member = rpc.Member(ID=request.ID, peerURLs=request.peerURLs)
        return self._change(Kind.MEMBER_UPDATE, member.SerializeToString())

    async def member_promote(self, request: rpc.MemberPromoteRequest, call: Call) -> bytes:
        """Raises MEMBER_NOT_FOUND, MEMBER_NOT_LEARNER, LEARNER_NOT_READY; with the strict check
        also MEMBER_NOT_ENOUGH_STARTED. Asks the leader, which alone knows a learner's progress.
        """
        if self._node.is_leader:
            body = await self._promote(request.ID)
        elif self._node.leader_id:
            leader = self._node.leader_id
            body = await self._node.ask(leader, "promote", _ID.pack(request.ID), PROMOTE_TIMEOUT)
        else:
            raise NO_LEADER()
        return self._headers.field(0) + body

    async def _promote_for_another(self, asking: int, body: bytes) -> bytes:
        if not self._node.is_leader:
            raise NOT_LEADER()
        (member_id,) = decoded_question(_ID.unpack, body)
        return await self._promote(member_id)

    async def _promote(self, member_id: int) -> bytes:
        progress = self._node.progress(member_id)
        if progress is None:
            raise MEMBER_NOT_FOUND()
        if progress < READY:
            raise LEARNER_NOT_READY()
        if self._strict is not None:
            self._strict.promotion()
        member = rpc.Member(ID=member_id)
        applied = await self._node.propose(encode(Kind.MEMBER_PROMOTE, member.SerializeToString()))
        body: bytes = applied.body
        return body

    def _change(self, kind: Kind, body: bytes) -> Response:
        return self._node.propose(encode(kind, body)).then(self._applied)

    def _applied(self, applied: Applied) -> Encoded:
        return concatenated(self._headers.field(0), applied.body)


def _peer_urls(request: rpc.MemberAddRequest) -> tuple[str, ...]:
    """The URLs in order. Raises MEMBER_BAD_URLS if there is none, or a malformed one."""
    try:
        urls = tuple(sorted(str(Url(url)) for url in request.peerURLs))
    except ValueError:
        raise MEMBER_BAD_URLS() from None
    if not urls:
        raise MEMBER_BAD_URLS()
    return urls
