"""Toy methods, and a door that serves it on a loopback port."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import grpc

from rusd.base.chunks import Chunks
from rusd.door.grpc.server import GrpcDoor
from rusd.door.http.http2 import Serve
from rusd.door.http.router import Router
from rusd.door.time_budget import TimeBudget
from rusd.member.pages import member_pages
from rusd.observe.health import HealthChecks
from rusd.proto import rpc_pb2 as rpc
from rusd.rpc.call import Call
from rusd.rpc.errors import KEY_NOT_FOUND
from rusd.rpc.methods import BidiStream, CallCounts, Methods, ServerStream, Unary
from rusd.rpc.streams import ResponseStream
from tests.support.ports import free_port
from tests.support.tasks import unexpected

REQUEST = rpc.PutRequest
LIMIT = 64 << 10


class Recorder:
    """A stream handler that writes down what it was told."""

    def __init__(self, call: Call, responses: ResponseStream) -> None:
        self.call = call
        self.responses = responses
        self.told: list[Any] = []
        self.over = asyncio.Event()
        self.on_received: Callable[[Any], None] = lambda request: None

    def received(self, request: Any) -> None:
        self.told.append(request.key)
        self.on_received(request)

    def half_closed(self) -> None:
        self.told.append("half closed")

    def drained(self) -> None:
        self.told.append("drained")

    def closed(self) -> None:
        self.told.append("closed")
        self.over.set()


class Toys:
    """Methods under the service name `toy.Toys`."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.waiting: asyncio.Future[bytes] | None = None
        self.streams: list[Recorder] = []
        #: Large answers that were made.
        self.made = 0
        self.opened = asyncio.Event()
        #: Raised instead of opening a stream of `Talk`.
        self.refusal: Exception | None = None

    def methods(self) -> Methods:
        return {
            "/toy.Toys/Echo": Unary(REQUEST, self.echo),
            "/toy.Toys/Refuse": Unary(REQUEST, self.refuse),
            "/toy.Toys/Break": Unary(REQUEST, self.crash),
            "/toy.Toys/Wait": Unary(REQUEST, self.wait),
            "/toy.Toys/Pieces": Unary(REQUEST, self.pieces),
            "/toy.Toys/Large": Unary(REQUEST, self.large),
            "/toy.Toys/Small": Unary(REQUEST, self.small),
            "/toy.Toys/Sized": Unary(REQUEST, self.sized),
            "/toy.Toys/Count": ServerStream(REQUEST, self.count),
            "/toy.Toys/Talk": BidiStream(REQUEST, self.talk),
        }

    def echo(self, request: rpc.PutRequest, call: Call) -> bytes:
        self.calls.append(call)
        return request.SerializeToString()

    def refuse(self, request: rpc.PutRequest, call: Call) -> bytes:
        raise KEY_NOT_FOUND()

    def crash(self, request: rpc.PutRequest, call: Call) -> bytes:
        raise ZeroDivisionError("a bug")

    def wait(self, request: rpc.PutRequest, call: Call) -> asyncio.Future[bytes]:
        self.waiting = asyncio.get_running_loop().create_future()
        return self.waiting

    def pieces(self, request: rpc.PutRequest, call: Call) -> Chunks:
        """The echo, a thousand bytes at a time."""
        encoded = request.SerializeToString()
        return Chunks(encoded[at : at + 1000] for at in range(0, len(encoded), 1000))

    def large(self, request: rpc.PutRequest, call: Call) -> bytes | Awaitable[bytes]:
        """A MiB, once there is room for it."""
        if (room := call.wait_writable()) is not None:
            return self.large_later(request, call, room)
        self.made += 1
        return REQUEST(value=bytes(1 << 20)).SerializeToString()

    def small(self, request: rpc.PutRequest, call: Call) -> bytes | Awaitable[bytes]:
        """Ten bytes, once there is room for a small answer."""
        if (room := call.wait_writable(small=True)) is not None:
            return self.large_later(request, call, room)
        return REQUEST(value=bytes(10)).SerializeToString()

    def sized(self, request: rpc.PutRequest, call: Call) -> bytes:
        """As many bytes as the request's lease says."""
        return REQUEST(value=bytes(request.lease)).SerializeToString()

    async def large_later(
        self, request: rpc.PutRequest, call: Call, room: Awaitable[None]
    ) -> bytes:
        await room
        answer = self.large(request, call)
        return answer if isinstance(answer, bytes) else await answer

    def count(self, request: rpc.PutRequest, call: Call, responses: ResponseStream) -> Recorder:
        handler = Recorder(call, responses)
        for number in range(request.lease):
            responses.send(REQUEST(lease=number).SerializeToString())
        responses.finish(KEY_NOT_FOUND() if request.value else None)
        return handler

    def talk(self, call: Call, responses: ResponseStream) -> Recorder:
        if self.refusal is not None:
            raise self.refusal
        handler = Recorder(call, responses)
        self.streams.append(handler)
        self.opened.set()
        return handler


class RecordedCounts(CallCounts):
    """Writes down the calls of `path`."""

    def __init__(self, path: str, started: list[str], finished: list[tuple[str, int]]) -> None:
        super().__init__()
        self._path = path
        self._started = started
        self._finished = finished

    def start(self) -> None:
        self._started.append(self._path)

    def finish(self, code: int) -> None:
        self._finished.append((self._path, code))


class Served:
    """The toys behind a door, and a grpcio client of it."""

    def __init__(self, toys: Toys, door: GrpcDoor, port: int) -> None:
        self.toys = toys
        self.door = door
        self.port = port
        self.started: list[str] = []
        self.finished: list[tuple[str, int]] = []
        self.channel = grpc.aio.insecure_channel(
            f"127.0.0.1:{port}",
            options=[("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)],
        )

    async def call(self, name: str, raw: bytes, timeout: float = 10) -> rpc.PutRequest:
        method = self.channel.unary_unary(f"/{name}", response_deserializer=REQUEST.FromString)
        answer: rpc.PutRequest = await method(raw, timeout=timeout, metadata=(("who", "test"),))
        return answer

    async def refusal(self, name: str, raw: bytes = b"", timeout: float = 10) -> tuple[str, str]:
        """(status code, details) of a call that is refused."""
        try:
            await self.call(name, raw, timeout)
        except grpc.aio.AioRpcError as error:
            return error.code().name, error.details() or ""
        raise AssertionError("it was answered")

    def talk(self) -> Any:
        return self.channel.stream_stream("/toy.Toys/Talk")()


def ipv6() -> bool:
    """Return whether this machine has an IPv6 loopback address."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@asynccontextmanager
async def served(
    budget: TimeBudget | None = None, pages: Serve | None = None, memory_budget: int = 0
) -> AsyncIterator[Served]:
    toys = Toys()
    started: list[str] = []
    finished: list[tuple[str, int]] = []
    door = GrpcDoor(
        {
            path: replace(method, counts=RecordedCounts(path, started, finished))
            for path, method in toys.methods().items()
        },
        fail=unexpected,
        max_request_bytes=LIMIT,
        max_concurrent_streams=1 << 20,
        keepalive_min_time=5,
        unknown_calls=RecordedCounts("unknown", started, finished),
        budget=budget,
        pages=pages,
        memory_budget=memory_budget,
    )
    port = free_port()
    await door.start([f"http://127.0.0.1:{port}"])
    one = Served(toys, door, port)
    one.started, one.finished = started, finished
    try:
        yield one
    finally:
        await one.channel.close()
        await door.stop(0)


def page_router(checks: HealthChecks, metrics: Callable[[], bytes] = lambda: b"m 1\n") -> Router:
    """The pages of a member."""
    return Router(member_pages(checks, metrics, TimeBudget()))
