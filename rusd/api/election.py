"""v3electionpb.Election: one leader among the candidates of a name, and its value for all to read.

A candidate is a key with the candidate's value, which exists as long as its lease and until Resign;
the oldest is the leader's. A campaign that is cancelled, or whose client goes away, ends.
"""

import asyncio

from rusd.api.contenders import (
    CallLease,
    Contender,
    created_at,
    holder_of,
    prefix_range,
    resign,
)
from rusd.api.own_client import OwnClient, OwnServices
from rusd.api.stream_task import StreamTask
from rusd.base.errors import Refusal
from rusd.proto import kv_pb2 as kv
from rusd.proto import rpc_pb2 as rpc
from rusd.proto import v3election_pb2 as election
from rusd.raft.errors import Stopped
from rusd.rpc.call import Call
from rusd.rpc.errors import ELECTION_NO_LEADER, ELECTION_NOT_LEADER, LEADER_MISSING, STOPPED
from rusd.rpc.methods import Methods, ServerStream, Unary
from rusd.rpc.streams import ResponseStream, StreamHandler


class ElectionService:
    """v3electionpb.Election."""

    def __init__(self, services: OwnServices) -> None:
        self._services = services

    def methods(self) -> Methods:
        """gRPC path -> method."""
        methods: Methods = {
            "Campaign": Unary(election.CampaignRequest, self.campaign),
            "Proclaim": Unary(election.ProclaimRequest, self.proclaim),
            "Leader": Unary(election.LeaderRequest, self.leader),
            "Observe": ServerStream(election.LeaderRequest, self.observe),
            "Resign": Unary(election.ResignRequest, self.resign),
        }
        return {f"/v3electionpb.Election/{name}": method for name, method in methods.items()}

    async def campaign(self, request: election.CampaignRequest, call: Call) -> bytes:
        """Responds when the candidate leads. A lease that is a candidate already stays the same
        one, with the new value.

        As in etcd, a campaign whose lease ends while it waits is told that it leads; its first
        Proclaim fails.
        """
        client = self._services.client(call)
        async with CallLease(client, request.lease) as lease:
            candidate = Contender(client, request.name, lease)
            try:
                entered = await candidate.enter(request.value)
                if not entered.succeeded:
                    await self._change_value(client, candidate, entered, request.value, lease)
                await candidate.wait()
            except asyncio.CancelledError:
                candidate.withdraw()
                raise
        leader = election.LeaderKey(
            name=request.name, key=candidate.key, rev=candidate.revision, lease=lease
        )
        response = election.CampaignResponse(header=entered.header, leader=leader)
        return response.SerializeToString()

    async def _change_value(
        self,
        client: OwnClient,
        candidate: Contender,
        entered: rpc.TxnResponse,
        value: bytes,
        lease: int,
    ) -> None:
        if entered.responses[0].response_range.kvs[0].value == value:
            return
        try:
            await _proclaim(client, candidate.key, candidate.revision, value, lease)
        except Refusal:
            candidate.withdraw()
            raise

    async def proclaim(self, request: election.ProclaimRequest, call: Call) -> bytes:
        """Changes the value of a leader."""
        if not request.HasField("leader"):
            raise LEADER_MISSING()
        client, leader = self._services.client(call), request.leader
        async with CallLease(client, leader.lease) as lease:
            header = await _proclaim(client, leader.key, leader.rev, request.value, lease)
        return election.ProclaimResponse(header=header).SerializeToString()

    async def leader(self, request: election.LeaderRequest, call: Call) -> bytes:
        """Reads the leader's key and value."""
        found = await self._services.client(call).range(holder_of(request.name))
        if not found.kvs:
            raise ELECTION_NO_LEADER()
        response = election.LeaderResponse(header=found.header, kv=found.kvs[0])
        return response.SerializeToString()

    async def resign(self, request: election.ResignRequest, call: Call) -> bytes:
        """Ends a leadership or a candidacy; no error if it has ended already."""
        if not request.HasField("leader"):
            raise LEADER_MISSING()
        client, leader = self._services.client(call), request.leader
        async with CallLease(client, leader.lease):
            resigned = await resign(client, leader.key, leader.rev)
        return election.ResignResponse(header=resigned.header).SerializeToString()

    def observe(
        self, request: election.LeaderRequest, call: Call, responses: ResponseStream
    ) -> StreamHandler:
        """Stream the leader and its values from now on. Intermediate values may be skipped."""
        return Observation(request.name, self._services.client(call), responses)


async def _proclaim(
    client: OwnClient, key: bytes, revision: int, value: bytes, lease: int
) -> rpc.ResponseHeader:
    put = rpc.RequestOp(request_put=rpc.PutRequest(key=key, value=value, lease=lease))
    response = await client.txn(rpc.TxnRequest(compare=[created_at(key, revision)], success=[put]))
    if not response.succeeded:
        raise ELECTION_NOT_LEADER()
    return response.header


class Observation(StreamTask):
    """One open stream of leaders. It goes on until the client cancels it."""

    def __init__(self, name: bytes, client: OwnClient, responses: ResponseStream) -> None:
        super().__init__(responses)
        self._name = name
        self._client = client

    async def run(self) -> None:
        while await self._follow():
            pass

    def ending(self, refusal: Refusal) -> Exception | None:
        # As in etcd, the stream of a client whose reads fail ends without an error.
        return STOPPED() if isinstance(refusal, Stopped) else None

    async def _follow(self) -> bool:
        """Stream one leader until its key is deleted; False if its further history is compacted."""
        found = await self._client.range(holder_of(self._name))
        if found.kvs:
            header, leader = found.header, found.kvs[0]
        else:
            first = await self._first(found.header.revision + 1)
            if first is None:
                return False
            header, leader = first
        await self._send(header, leader)
        return await self._values(leader.key, header.revision + 1)

    async def _first(self, revision: int) -> tuple[rpc.ResponseHeader, kv.KeyValue] | None:
        """Wait for a candidate."""
        key, range_end = prefix_range(self._name)
        watch = self._client.watch(
            rpc.WatchCreateRequest(
                key=key,
                range_end=range_end,
                start_revision=revision,
                filters=[rpc.WatchCreateRequest.NODELETE],
            )
        )
        try:
            response = await watch.next()
        finally:
            watch.close()
        if response is None:
            return None
        first = response.events[0].kv
        response.header.revision = first.mod_revision
        return response.header, first

    async def _values(self, key: bytes, revision: int) -> bool:
        """Send the values of a leader from `revision` on; returns True when its key is deleted."""
        watch = self._client.watch(rpc.WatchCreateRequest(key=key, start_revision=revision))
        try:
            while (response := await watch.next()) is not None:
                for event in response.events:
                    if event.type == kv.Event.DELETE:
                        return True
                    await self._send(response.header, event.kv)
        finally:
            watch.close()
        return False

    async def _send(self, header: rpc.ResponseHeader, leader: kv.KeyValue) -> None:
        while not self._responses.ready():
            await self._wait_for_room()
        response = election.LeaderResponse(header=header, kv=leader)
        self._responses.send(response.SerializeToString())
