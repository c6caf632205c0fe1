"""A KV and a Lease service on a real state machine, behind an instant log."""

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf.message import Message

from rusd.api.kv import KVService, Limits
from rusd.api.lease import LeaseService
from rusd.auth.providers import SimpleProvider
from rusd.base.errors import Refusal
from rusd.lease.ids import LeaseIds
from rusd.lease.lessor import Lessor
from rusd.proto import rpc_pb2 as rpc
from rusd.proto.nested_txn import txn_response
from rusd.rpc.authentication import Authenticator
from rusd.rpc.call import Call, Caller
from rusd.rpc.errors import EtcdError, as_etcd
from rusd.rpc.guards.authentication import Authentication
from rusd.rpc.guards.chain import guarded
from rusd.rpc.guards.leader import RequireLeader
from rusd.rpc.guards.quota import Quota
from rusd.rpc.guards.validation import Validation
from rusd.rpc.methods import BidiStream, ServerStream, Unary
from rusd.rpc.responses import Response
from rusd.rpc.streams import ResponseStream, StreamHandler
from rusd.state.listeners import Listeners
from rusd.state.machine import StateMachine
from rusd.wire.kv_response import message_field
from tests.unit.support_node import InstantNode, Log

M = TypeVar("M", bound=Message)

RESPONSES: dict[str, type[Message]] = {
    "Range": rpc.RangeResponse,
    "Put": rpc.PutResponse,
    "DeleteRange": rpc.DeleteRangeResponse,
    "Txn": rpc.TxnResponse,
    "Compact": rpc.CompactionResponse,
    "LeaseGrant": rpc.LeaseGrantResponse,
    "LeaseRevoke": rpc.LeaseRevokeResponse,
    "LeaseTimeToLive": rpc.LeaseTimeToLiveResponse,
    "LeaseLeases": rpc.LeaseLeasesResponse,
}


class Headers:
    """Headers of member 1 in cluster 9, always in term 4."""

    def field(self, revision: int) -> bytes:
        header = rpc.ResponseHeader(cluster_id=9, member_id=1, revision=revision, raft_term=4)
        return message_field(1, header.SerializeToString())


class Compactions:
    """Physical compaction that ends when the test says so."""

    def __init__(self) -> None:
        self.waiting: dict[int, asyncio.Future[None]] = {}

    def finished(self, revision: int) -> Awaitable[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting[revision] = future
        return future


class Sink(ResponseStream):
    """Keeps what it is sent; full while `full`."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.ended = False
        self.error: EtcdError | None = None
        self.full = False
        self.changed = asyncio.Event()

    def send(self, message: bytes) -> None:
        self.messages.append(message)
        self.changed.set()

    def ready(self) -> bool:
        return not self.full

    def finish(self, error: Exception | None = None) -> None:
        if not self.ended:
            self.ended, self.error = True, None if error is None else as_etcd(error)
            self.changed.set()

    async def until(self, count: int) -> None:
        """Wait for that many messages, or the end."""
        async with asyncio.timeout(10):
            while len(self.messages) < count and not self.ended:
                self.changed.clear()
                await self.changed.wait()

    async def until_end(self) -> None:
        async with asyncio.timeout(10):
            while not self.ended:
                self.changed.clear()
                await self.changed.wait()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """Everything between the door and the store of one leading member. Create it in a loop."""

    def __init__(
        self, directory: Path, *, quota: int = -1, size: int = 0, limits: Limits | None = None
    ) -> None:
        self.log = Log()
        self.machine = StateMachine(directory)
        self.node = InstantNode(self.log, 1, self.machine)
        self.size = size
        self.compactions = Compactions()
        self.clock = Clock()
        loop = asyncio.get_running_loop()
        self.require_leader = RequireLeader(loop, lambda: self.log.leader_id, 3.0)
        self.quota = Quota(quota, lambda: self.size, self.node, self.clock)
        self.lessor = Lessor(self.node, self.machine.leases, 1.0, self.clock)
        self.machine.listen(Listeners(leases=self.lessor))
        self.node.on_role(self.lessor.role_changed)
        self.tokens = SimpleProvider(300, self.clock)
        auth = self.machine.auth
        self.authenticator = Authenticator(auth, self.tokens, self.node, certificates=True)
        self.kv = KVService(
            self.node,
            self.machine,
            Headers(),
            self.compactions,
            self.authenticator,
            limits or Limits(),
        )
        self.lease = LeaseService(
            self.node,
            self.machine,
            Headers(),
            self.lessor,
            self.authenticator,
            LeaseIds(1, 5),
            2,
        )
        authentication = Authentication(self.authenticator, auth)
        guards = (self.require_leader, self.quota, Validation(), authentication)
        table = guarded({**self.kv.methods(), **self.lease.methods()}, guards)
        self.methods = {path.rsplit("/", 1)[1]: method for path, method in table.items()}
        self.log.elect(1)

    def start(self, name: str, request: Message, **metadata: str) -> Response:
        """Call a method; its answer, perhaps still to come."""
        method = self.methods[name]
        assert isinstance(method, Unary)
        raw = request.SerializeToString()
        return method.call(request, Call(metadata, raw, None, Caller("test")))

    async def call(self, name: str, request: Message, **metadata: str) -> Any:
        """Call a method and decode its answer."""
        answer = self.start(name, request, **metadata)
        encoded = answer if isinstance(answer, bytes) else await answer
        return txn_response(encoded) if name == "Txn" else RESPONSES[name].FromString(encoded)

    async def refusal(self, name: str, request: Message, **metadata: str) -> EtcdError | None:
        """The error of a call, None if it succeeds."""
        try:
            await self.call(name, request, **metadata)
        except Refusal as error:
            return as_etcd(error)
        return None

    def open(self, name: str, request: Message | None = None, **metadata: str) -> "Stream":
        """Open a stream."""
        responses = Sink()
        call = Call(metadata, b"", None, Caller("test"))
        method = self.methods[name]
        if isinstance(method, ServerStream):
            return Stream(method.open(request, call, responses), responses)
        assert isinstance(method, BidiStream)
        return Stream(method.open(call, responses), responses)


class Stream:
    """An open stream and what came out of it."""

    def __init__(self, handler: StreamHandler, responses: Sink) -> None:
        self.handler = handler
        self.responses = responses
