"""HTTP/1.1 on connections that somebody else has accepted, and clients that take their time."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from unittest.mock import patch

import pytest
from aiohttp import web

from cluster.certificates import Authority
from rusd.door.http import connection, handler
from rusd.door.http import server as http_server
from rusd.door.http.body import BODY_MEMORY, BodyMemory
from rusd.door.http.connection import FIELDS, PIPELINED_AT_MOST, SECTION, SMALL
from rusd.door.http.server import HttpDoor
from rusd.door.tls.context import ClientTls, TlsOptions
from rusd.observe.health import HealthChecks
from rusd.state.machine import StateMachine
from tests.support.ports import free_port
from tests.support.tasks import unexpected
from tests.unit.door.toys import page_router
from tests.unit.support_node import InstantNode, Log

LIMIT = 64 << 10
METRICS = b"m 1\n" * (32 << 10)
REQUEST = b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n"


class Borrowed(asyncio.Protocol):
    """Accepts, reads the first bytes, and gives the connection away, as the client port does."""

    def __init__(self, door: HttpDoor) -> None:
        self._door = door

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        protocol = self._door.protocol()
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(data)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Client]]


def with_door(
    directory: Path,
    test: Callable[[HttpDoor, Connect], Awaitable[None]],
    *,
    prepared: bool = True,
) -> None:
    async def run() -> None:
        machine = StateMachine(directory)
        log = Log()
        node = InstantNode(log, 1, machine)
        log.elect(1)
        router = page_router(HealthChecks(node, machine), lambda: METRICS)
        door = HttpDoor(router, unexpected, BodyMemory(each=LIMIT))
        if prepared:
            await door.prepare()
        loop = asyncio.get_running_loop()
        port = free_port()
        server = await loop.create_server(lambda: Borrowed(door), "127.0.0.1", port)
        try:
            await test(door, lambda: asyncio.open_connection("127.0.0.1", port))
        finally:
            await door.stop()
            server.close()
            machine.close()

    asyncio.run(run())


async def ask(client: Client, request: bytes = REQUEST) -> bytes:
    """The status line."""
    reader, writer = client
    writer.write(request)
    line = await reader.readline()
    headers = await reader.readuntil(b"\r\n\r\n")
    length = next(
        (int(each[15:]) for each in headers.splitlines() if each.startswith(b"Content-Length:")), 0
    )
    await reader.readexactly(length)
    return line.strip()


async def ends(client: Client) -> bool:
    """Wait until the server closes the connection."""
    with contextlib.suppress(ConnectionError):
        await client[0].read()
    client[1].close()
    return True


def test_a_borrowed_connection_is_served_and_kept(tmp_path: Path) -> None:
    async def test(door: HttpDoor, connect: Connect) -> None:
        client = await connect()
        assert [await ask(client) for _ in range(3)] == [b"HTTP/1.1 200 OK"] * 3
        client[1].close()

    with_door(tmp_path, test)


def test_a_connection_that_comes_while_the_door_stops_is_closed(tmp_path: Path) -> None:
    async def test(door: HttpDoor, connect: Connect) -> None:
        client = await connect()
        await door.stop()
        client[1].write(REQUEST)
        assert await ends(client)

    with_door(tmp_path, test)


def test_stopping_ends_borrowed_connections(tmp_path: Path) -> None:
    async def test(door: HttpDoor, connect: Connect) -> None:
        idle, silent = await connect(), await connect()
        await ask(idle)
        silent[1].write(b"GET /ver")
        await door.stop()
        assert await ends(idle)
        assert await ends(silent)

    with_door(tmp_path, test)


def test_the_first_connection_loads_the_door_and_is_served_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, go_on = http_server._load, threading.Event()
    monkeypatch.setattr(http_server, "_load", lambda: go_on.wait(10) and load())

    async def test(door: HttpDoor, connect: Connect) -> None:
        clients = [await connect() for _ in range(3)]
        answers = [asyncio.ensure_future(ask(client)) for client in clients]
        gone = await connect()
        gone[1].write(REQUEST)
        while len(door.early) < 4:
            await asyncio.sleep(0)
        gone[1].transport.abort()
        go_on.set()
        assert await asyncio.gather(*answers) == [b"HTTP/1.1 200 OK"] * 3
        for client in clients:
            assert await ask(client) == b"HTTP/1.1 200 OK"
            client[1].close()
        while door.connections:
            await asyncio.sleep(0)

    with_door(tmp_path, test, prepared=False)


def test_a_protocol_that_pauses_reading_at_its_first_bytes_is_not_resumed() -> None:
    reading: list[bool] = []

    class Transport(asyncio.Transport):
        def pause_reading(self) -> None:
            reading.append(False)

        def resume_reading(self) -> None:
            reading.append(True)

        def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
            """Nothing is read."""

    class Full(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            transport.pause_reading()

    transport = Transport()
    early = http_server._EarlyConnection(set())
    early.connection_made(transport)
    early.data_received(REQUEST)
    early.give_to(Full())
    assert reading[-1] is False


def test_a_door_that_listens_loads_nothing_before_a_connection_comes(tmp_path: Path) -> None:
    async def test(door: HttpDoor, connect: Connect) -> None:
        port = free_port()
        await door.start([f"http://127.0.0.1:{port}"])
        assert not door._tasks
        assert await ask(await asyncio.open_connection("127.0.0.1", port)) == b"HTTP/1.1 200 OK"

    with_door(tmp_path, test, prepared=False)


def test_a_door_that_stops_before_it_is_loaded_closes_its_connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, go_on = http_server._load, threading.Event()
    monkeypatch.setattr(http_server, "_load", lambda: go_on.wait(10) and load())

    async def test(door: HttpDoor, connect: Connect) -> None:
        client = await connect()
        client[1].write(REQUEST)
        while not door.early:
            await asyncio.sleep(0)
        await door.stop()
        go_on.set()
        assert await ends(client)

    with_door(tmp_path, test, prepared=False)


def test_a_door_can_listen_on_more_later(tmp_path: Path) -> None:
    async def test(door: HttpDoor, connect: Connect) -> None:
        for port in (free_port(), free_port()):
            await door.start([f"http://127.0.0.1:{port}"])
            client = await asyncio.open_connection("127.0.0.1", port)
            assert await ask(client) == b"HTTP/1.1 200 OK"
            client[1].close()

    with_door(tmp_path, test)


def test_a_door_of_its_own_never_agrees_on_http_2(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "tls")
    server = authority.issue("server", ["127.0.0.1"])
    tls = ClientTls(TlsOptions(cert_file=server.cert, key_file=server.key))

    async def test(door: HttpDoor, connect: Connect) -> None:
        port = free_port()
        await door.start([f"https://127.0.0.1:{port}"], tls)
        context = ssl.create_default_context(cafile=authority.cert)
        context.set_alpn_protocols(["h2", "http/1.1"])
        client = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        agreed = client[1].get_extra_info("ssl_object").selected_alpn_protocol()
        assert agreed == "http/1.1"
        assert await ask(client) == b"HTTP/1.1 200 OK"
        (served,) = door.connections.values()
        assert served.get_write_buffer_limits()[1] == connection.UNSENT  # type: ignore[attr-defined]
        client[1].close()

    with_door(tmp_path / "data", test)


@pytest.mark.parametrize("first", [REQUEST, b"GET /version HTTP/1.1\r\nHost: x\r\nSlow: "])
def test_an_idle_connection_or_an_endless_header_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: bytes
) -> None:
    monkeypatch.setattr(handler, "IDLE_SECONDS", 0.05)

    async def test(door: HttpDoor, connect: Connect) -> None:
        client = await connect()
        client[1].write(first)
        assert await ends(client)

    with_door(tmp_path, test)


def test_dripping_bytes_of_a_header_buys_no_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler, "IDLE_SECONDS", 0.05)

    async def test(door: HttpDoor, connect: Connect) -> None:
        reader, writer = await connect()
        writer.write(b"GET /version HTTP/1.1\r\nSlow: ")
        while not reader.at_eof():
            writer.write(b"x")
            with contextlib.suppress(TimeoutError, ConnectionError):
                await asyncio.wait_for(reader.read(1), 0.005)
        writer.close()

    with_door(tmp_path, test)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"x" * SECTION,
        b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"x" * SECTION,
        b"GET / HTTP/1.1\r\nHost: x\r\n" + (b"A: " + b"x" * 10_000 + b"\r\n") * 105,
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: \r\n" * (FIELDS + 1) + b"\r\n",
    ],
    ids=["line", "field", "fields", "number"],
)
def test_a_header_without_bounds_is_refused(tmp_path: Path, head: bytes) -> None:
    async def test(door: HttpDoor, connect: Connect) -> None:
        client = await connect()
        assert (await ask(client, head)).startswith(b"HTTP/1.1 431")
        assert await ends(client)

    with_door(tmp_path, test)


@pytest.mark.parametrize(
    "fields",
    [b"A: %b\r\n" % (b"x" * 1_040_000), b"".join(b"A%d: a\r\n" % one for one in range(9000))],
    ids=["long", "many"],
)
def test_long_fields_and_many_fields_are_read(tmp_path: Path, fields: bytes) -> None:
    async def test(door: HttpDoor, connect: Connect) -> None:
        client = await connect()
        for _ in range(12):  # their bytes do not add up
            request = b"GET /version HTTP/1.1\r\nHost: x\r\n" + fields + b"\r\n"
            assert await ask(client, request) == b"HTTP/1.1 200 OK"
        client[1].close()

    with_door(tmp_path, test)


def test_long_header_sections_share_the_memory_of_bodies(tmp_path: Path) -> None:
    async def test(door: HttpDoor, connect: Connect) -> None:
        memory = door.body_memory
        room = 3 * SECTION
        memory.take(BODY_MEMORY - room)
        long = b"GET /version HTTP/1.1\r\nHost: x\r\nA: " + b"x" * (SECTION - 100)
        waiting = await connect()
        waiting[1].write(long)
        await until(lambda: memory.held > BODY_MEMORY - 2 * SECTION)
        refused = await connect()
        assert await ask(refused, long + b"\r\n\r\n") == b"HTTP/1.1 503 Service Unavailable"
        assert await ends(refused)
        assert await ask(waiting, b"\r\n\r\n") == b"HTTP/1.1 200 OK"
        await until(lambda: memory.held == BODY_MEMORY - room)
        waiting[1].write(long)
        await until(lambda: memory.held > BODY_MEMORY - 2 * SECTION)
        waiting[1].close()
        await until(lambda: memory.held == BODY_MEMORY - room)

    with_door(tmp_path, test)


def test_a_long_section_in_small_parts_is_parsed_in_few(tmp_path: Path) -> None:
    async def test(door: HttpDoor, connect: Connect) -> None:
        client = await connect()
        client[1].write(b"GET /version HTTP/1.1\r\nHost: x\r\nA: ")
        await until(lambda: bool(door.connections))
        (connection,) = door.connections
        original = web.RequestHandler.data_received
        with patch.object(web.RequestHandler, "data_received", autospec=True) as parse:
            parse.side_effect = original
            for _ in range(SECTION // 100 - 10):
                connection.data_received(b"x" * 100)
        connection.data_received(b"\r\n\r")
        assert await ask(client, b"\n") == b"HTTP/1.1 200 OK"
        assert parse.call_count < SMALL // 100 + 2 * SECTION // SMALL
        client[1].close()

    with_door(tmp_path, test)


def test_a_long_body_is_no_header(tmp_path: Path) -> None:
    async def test(door: HttpDoor, connect: Connect) -> None:
        client = await connect()
        head = b"POST /metrics HTTP/1.1\r\nHost: x\r\n"
        chunk = b"%x\r\n%b\r\n" % (LIMIT, b"x" * LIMIT)
        chunked = head + b"Transfer-Encoding: chunked\r\n\r\n" + 3 * chunk + b"0\r\n\r\n"
        assert await ask(client, chunked) == b"HTTP/1.1 200 OK"
        door.body_memory.each = 2 * SECTION
        head += b"Content-Length: %d\r\n\r\n" % (SECTION + 1)
        client[1].write(head)
        await asyncio.sleep(0.01)
        (connection,) = door.connections
        connection.data_received(b"x" * (SECTION + 1))
        assert await ask(client, b"") == b"HTTP/1.1 200 OK"
        assert await ask(client) == b"HTTP/1.1 200 OK"
        client[1].close()

    with_door(tmp_path, test)


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", b"501"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", b"501"),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", b"505"),
        (b"GET / HTTP/0.9\r\nHost: x\r\n\r\n", b"505"),
    ],
)
def test_encodings_and_versions_that_are_not_spoken_are_refused(
    tmp_path: Path, request_: bytes, answer: bytes
) -> None:
    async def test(door: HttpDoor, connect: Connect) -> None:
        client = await connect()
        assert (await ask(client, request_)).partition(b" ")[2].startswith(answer)
        assert await ends(client)

    with_door(tmp_path, test)


def test_a_body_beyond_the_limit_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler, "LINGER_SECONDS", 0.05)

    async def test(door: HttpDoor, connect: Connect) -> None:
        client = await connect()
        header = f"POST /version HTTP/1.1\r\nHost: x\r\nContent-Length: {LIMIT + 1}\r\n\r\n"
        assert (await ask(client, header.encode())).startswith(b"HTTP/1.1 413")
        assert await ends(client)

    with_door(tmp_path, test)


def test_a_body_that_never_ends_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler, "LINGER_SECONDS", 0.05)

    async def test(door: HttpDoor, connect: Connect) -> None:
        client = await connect()
        header = b"POST /version HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"
        assert (await ask(client, header)).startswith(b"HTTP/1.1 405")
        assert await ends(client)

    with_door(tmp_path, test)


def test_a_body_somebody_sends_along_is_thrown_away(tmp_path: Path) -> None:
    async def test(door: HttpDoor, connect: Connect) -> None:
        client = await connect()
        header = b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
        assert await ask(client, header) == b"HTTP/1.1 200 OK"
        assert await ask(client) == b"HTTP/1.1 200 OK"
        client[1].close()

    with_door(tmp_path, test)


def test_garbage_is_answered_and_closed(tmp_path: Path) -> None:
    async def test(door: HttpDoor, connect: Connect) -> None:
        client = await connect()
        assert (await ask(client, b"\x16\x03\x01 no http\r\n\r\n")).startswith(b"HTTP/1.1 400")
        assert await ends(client)

    with_door(tmp_path, test)


def test_a_client_that_asks_and_never_reads_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connection, "STALLED", 0.2)
    monkeypatch.setattr(http_server, "SWEEP", 0.02)
    caplog.set_level("DEBUG", "rusd.door.closings")

    async def test(door: HttpDoor, connect: Connect) -> None:
        reader, writer = await connect()
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * PIPELINED_AT_MOST)
        await reader.readexactly(1)
        # The rest of some 13 MB of answers is never read.
        while door.connections:
            await asyncio.sleep(0.01)
        assert lines(caplog) == [("closed a client connection", "the client does not read")]
        writer.close()

    with_door(tmp_path, test)


def test_requests_that_follow_one_another_unread_are_bounded(tmp_path: Path) -> None:
    """Each costs more than its few bytes, and the kernel takes thousands of answers."""

    async def test(door: HttpDoor, connect: Connect) -> None:
        reader, writer = await connect()
        writer.write(REQUEST * (PIPELINED_AT_MOST + 10))
        said = await reader.read()
        assert said.count(b"HTTP/1.1 200 OK") == PIPELINED_AT_MOST
        assert said.count(b"Connection: close") == 1
        writer.close()

    with_door(tmp_path, test)


def test_requests_of_a_client_that_waits_for_its_answers_are_not_bounded(tmp_path: Path) -> None:
    async def test(door: HttpDoor, connect: Connect) -> None:
        client = await connect()
        for _ in range(2 * PIPELINED_AT_MOST):
            assert await ask(client) == b"HTTP/1.1 200 OK"
        client[1].close()

    with_door(tmp_path, test)


UPGRADE = b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"


@pytest.mark.parametrize("cut", [0, 1, len(UPGRADE) - 3, len(UPGRADE) - 1, len(UPGRADE)])
def test_requests_behind_a_declined_upgrade_are_answered(tmp_path: Path, cut: int) -> None:
    async def test(door: HttpDoor, connect: Connect) -> None:
        client = await connect()
        behind = UPGRADE + UPGRADE + REQUEST
        client[1].write(behind[:cut])
        await asyncio.sleep(0)
        assert [await ask(client, rest) for rest in (behind[cut:], b"", b"")] == [
            b"HTTP/1.1 200 OK"
        ] * 3
        client[1].close()

    with_door(tmp_path, test)


def test_a_declined_upgrade_with_a_body_ends_the_connection(tmp_path: Path) -> None:
    async def test(door: HttpDoor, connect: Connect) -> None:
        client = await connect()
        asked = UPGRADE.replace(b"\r\n\r\n", b"\r\nContent-Length: 2\r\n\r\nab")
        assert await ask(client, asked + REQUEST) == b"HTTP/1.1 200 OK"
        assert await ends(client)

    with_door(tmp_path, test)


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: \0\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A : a\r\n" * 200 + b"\r\n",
        b"GET x HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://[::1/ HTTP/1.1\r\nHost: x\r\n\r\n",
        UPGRADE + b"GET \xff",
    ],
    ids=range(9),
)
def test_no_refusal_names_the_library(tmp_path: Path, request_: bytes) -> None:
    async def test(door: HttpDoor, connect: Connect) -> None:
        reader, writer = await connect()
        writer.write(request_)
        said = (await reader.read()).split(b"HTTP/1.1 ")[-1]
        assert said.startswith(b"400 Bad Request\r\n")
        assert said.endswith(b"\r\n\r\n400 Bad Request")
        assert b"Server:" not in said
        writer.close()

    with_door(tmp_path, test)


CLOSE = b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (CLOSE, "after its last response"),
        (b"GET /version HTTP/1.1\r\nHost: x\r\n", "no request in time"),
        (REQUEST, "no request in time"),
        (b"GET /version HTTP/1.1\r\nno colon\r\n\r\n", "a request that cannot be read"),
        (b"GET / HTTP/1.1\r\nx: " + b"x" * SECTION, "refused headers"),
    ],
    ids=["close", "half a request", "idle", "malformed", "too long"],
)
def test_a_connection_that_the_server_closes_leaves_a_line_with_the_reason(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    data: bytes,
    reason: str,
) -> None:
    monkeypatch.setattr(handler, "IDLE_SECONDS", 0.5)
    caplog.set_level("DEBUG", "rusd.door.closings")

    async def test(door: HttpDoor, connect: Connect) -> None:
        reader, writer = await connect()
        writer.write(data)
        with contextlib.suppress(ConnectionError):
            await reader.read()
        await until(lambda: not door.connections)
        assert lines(caplog) == [("closed a client connection", reason)]
        writer.close()

    with_door(tmp_path, test)


def test_a_client_that_leaves_leaves_a_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "rusd.door.closings")

    async def test(door: HttpDoor, connect: Connect) -> None:
        reader, writer = await connect()
        writer.write(REQUEST)
        await reader.readuntil(b"\r\n\r\n")
        writer.close()
        await until(lambda: not door.connections)
        assert lines(caplog) == [("a client connection ended", "closed by the client")]

    with_door(tmp_path, test)


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Message and reason of each line about the end of a connection."""
    found = []
    for record in caplog.records:
        if record.name == "rusd.door.closings":
            assert record.levelname == "DEBUG"
            found.append((record.getMessage(), getattr(record, "fields", {})["reason"]))
    return found
