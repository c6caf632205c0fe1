"""One port for all protocols: grpclib (another gRPC implementation), HTTP/1.1 and plain HTTP/2.

grpcio is the client of test_grpc_door.py, grpc-go (etcdctl) that of tests/cluster/test_etcdctl.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import grpclib
import grpclib.const
from grpclib.client import Channel, StreamStreamMethod, UnaryStreamMethod, UnaryUnaryMethod
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived, StreamEnded

from rusd.door.grpc.server import GrpcDoor
from rusd.door.http.server import HttpDoor
from rusd.observe.health import HealthChecks
from rusd.rpc.errors import TIMEOUT
from rusd.state.machine import StateMachine
from tests.support.ports import free_port
from tests.support.tasks import unexpected
from tests.unit.door.toys import LIMIT, REQUEST, Toys, page_router
from tests.unit.support_node import InstantNode, Log


class Port:
    """A client port with toys behind it, and the pages of a member."""

    def __init__(self, toys: Toys, port: int) -> None:
        self.toys = toys
        self.port = port
        self.grpc = Channel("127.0.0.1", port)

    def method(self, kind: Any, name: str) -> Any:
        return kind(self.grpc, f"/toy.Toys/{name}", REQUEST, REQUEST)


@asynccontextmanager
async def served(directory: Path) -> AsyncIterator[Port]:
    machine = StateMachine(directory)
    log = Log()
    node = InstantNode(log, 1, machine)
    log.elect(1)
    router = page_router(HealthChecks(node, machine), lambda: b"some_metric 1\n")
    http = HttpDoor(router, unexpected)
    await http.prepare()
    toys = Toys()
    door = GrpcDoor(
        toys.methods(),
        fail=unexpected,
        max_request_bytes=LIMIT,
        max_concurrent_streams=100,
        keepalive_min_time=5,
        pages=router.serve,
        http=http.protocol,
    )
    port = free_port()
    await door.start([f"http://127.0.0.1:{port}"])
    one = Port(toys, port)
    try:
        yield one
    finally:
        one.grpc.close()
        await door.stop(0)
        await http.stop()
        machine.close()


def on_one_port(directory: Path, test: Callable[[Port], Awaitable[None]]) -> None:
    async def run() -> None:
        async with served(directory) as one:
            await asyncio.wait_for(test(one), 30)

    asyncio.run(run())


def test_grpclib_makes_a_unary_call(tmp_path: Path) -> None:
    async def test(one: Port) -> None:
        echo = one.method(UnaryUnaryMethod, "Echo")
        request = REQUEST(key=b"k" * 50_000)
        for timeout in (None, 5, 7.5):
            assert await echo(request, timeout=timeout, metadata={"who": "grpclib"}) == request
        assert one.toys.calls[-1].metadata["who"] == "grpclib"

    on_one_port(tmp_path, test)


def test_an_answer_in_pieces_arrives_as_one_message(tmp_path: Path) -> None:
    async def test(one: Port) -> None:
        for size in (0, 999, 300_000):
            request = REQUEST(value=b"p" * size)
            assert await one.method(UnaryUnaryMethod, "Pieces")(request) == request

    on_one_port(tmp_path, test)


def test_grpclib_reads_a_refusal(tmp_path: Path) -> None:
    async def test(one: Port) -> None:
        try:
            await one.method(UnaryUnaryMethod, "Refuse")(REQUEST())
        except grpclib.GRPCError as error:
            assert error.status is grpclib.const.Status.INVALID_ARGUMENT
            assert error.message == "etcdserver: key not found"
        else:
            raise AssertionError("it was answered")

    on_one_port(tmp_path, test)


def test_grpclib_reads_a_stream(tmp_path: Path) -> None:
    async def test(one: Port) -> None:
        counted = await one.method(UnaryStreamMethod, "Count")(REQUEST(lease=5000))
        assert [message.lease for message in counted] == list(range(5000))

    on_one_port(tmp_path, test)


def test_grpclib_talks_both_ways(tmp_path: Path) -> None:
    async def test(one: Port) -> None:
        async with one.method(StreamStreamMethod, "Talk").open() as stream:
            await stream.send_message(REQUEST(key=b"first"))
            await one.toys.opened.wait()
            (handler,) = one.toys.streams
            handler.responses.send(REQUEST(key=b"answer").SerializeToString())
            answer = await stream.recv_message()
            assert answer is not None
            assert answer.key == b"answer"
            await stream.end()
            handler.responses.finish()
            assert await stream.recv_message() is None
        assert handler.told[0] == b"first"

    on_one_port(tmp_path, test)


def test_http_1_1_gets_pages_beside_grpc(tmp_path: Path) -> None:
    async def test(one: Port) -> None:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{one.port}") as session:
            for _ in range(2):  # the second on the same connection
                async with session.get("/health") as response:
                    assert response.status == 200
                    assert await response.text() == '{"health":"true","reason":""}'
            async with session.get("/metrics") as response:
                assert await response.text() == "some_metric 1\n"
        assert await one.method(UnaryUnaryMethod, "Echo")(REQUEST()) == REQUEST()

    on_one_port(tmp_path, test)


def test_http_2_without_grpc_gets_the_same_pages(tmp_path: Path) -> None:
    async def test(one: Port) -> None:
        assert await page(one.port, "/health") == (200, b'{"health":"true","reason":""}')
        assert await page(one.port, "/nowhere") == (404, b"404 page not found\n")
        assert await page(one.port, "/health", "POST") == (405, b"Method Not Allowed\n")

    on_one_port(tmp_path, test)


async def page(port: int, path: str, method: str = "GET") -> tuple[int, bytes]:
    client = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
    client.initiate_connection()
    headers = [(":method", method), (":scheme", "http"), (":authority", "x"), (":path", path)]
    client.send_headers(1, headers, end_stream=True)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(client.data_to_send())
    status, body = 0, b""
    while True:
        for event in client.receive_data(await reader.read(65536)):
            if isinstance(event, ResponseReceived):
                status = int(dict(event.headers)[":status"])
            if isinstance(event, DataReceived):
                body += event.data
            if isinstance(event, StreamEnded):
                writer.close()
                return status, body


def test_an_answer_refused_by_an_awaitable_is_refused_over_any_client(tmp_path: Path) -> None:
    async def test(one: Port) -> None:
        waiting = asyncio.ensure_future(one.method(UnaryUnaryMethod, "Wait")(REQUEST()))
        while one.toys.waiting is None:
            await asyncio.sleep(0.01)
        one.toys.waiting.set_exception(TIMEOUT())
        try:
            await waiting
        except grpclib.GRPCError as error:
            assert error.message == TIMEOUT.message
        else:
            raise AssertionError("it was answered")

    on_one_port(tmp_path, test)
