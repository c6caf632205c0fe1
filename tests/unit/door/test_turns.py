"""Every turn of the loop does a bounded amount of work for clients, whatever its cause.

The budget's clock moves when it is read, and by nothing else: the bounds are numbers of pieces.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
from collections.abc import Awaitable, Callable

from rusd.door.grpc import answer_queue
from rusd.door.h2 import PREFACE, block
from rusd.door.h2 import frames as wire
from rusd.door.http import http2
from rusd.door.time_budget import TURN, TimeBudget
from rusd.rpc.pages import PageRequest, PageResponse
from tests.unit.door.toys import REQUEST, Served, served

#: Seconds that pass with each look at the clock, and what a turn may hold then.
LOOK = 1e-4
PIECES = 1.5 * TURN / LOOK
MANY = 600


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += LOOK
        return self.now


def with_a_door(test: Callable[[Served], Awaitable[None]]) -> None:
    async def run() -> None:
        async with served(TimeBudget(Clock())) as one:
            await asyncio.wait_for(test(one), 60)

    asyncio.run(run())


async def most_in_a_turn(count: Callable[[], int], total: int) -> int:
    """Return the largest growth of `count()` in one turn of the loop, until it is `total`."""
    most, before = 0, count()
    while before < total:
        await asyncio.sleep(0)
        after = count()
        most, before = max(most, after - before), after
    return most


async def connected(
    one: Served, raw: socket.socket | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    raw = raw or socket.create_connection(("127.0.0.1", one.port))
    reader, writer = await asyncio.open_connection(sock=raw)
    settings = struct.pack(">HL", wire.INITIAL_WINDOW_SIZE, 1 << 20)
    writer.write(PREFACE + wire.frame(wire.SETTINGS, 0, 0, settings))
    writer.write(wire.window_update(0, 1 << 29))
    return reader, writer


def head(name: str, **fields: str) -> bytes:
    return block(
        [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", f"/toy.Toys/{name}"),
            ("content-type", "application/grpc"),
            *((key.replace("_", "-"), value) for key, value in fields.items()),
        ]
    )


def requests(number: int, header: bytes, body: bytes, *, ended: bool = True) -> bytes:
    return b"".join(
        wire.frame(wire.HEADERS, wire.END_HEADERS, stream, header)
        + wire.frame(wire.DATA, wire.END_STREAM if ended else 0, stream, body)
        for stream in range(1, 2 * number, 2)
    )


def message(raw: bytes, flag: int = 0) -> bytes:
    return struct.pack(">BL", flag, len(raw)) + raw


def test_requests_of_one_read_are_served_a_few_in_one_turn() -> None:
    async def test(one: Served) -> None:
        _, writer = await connected(one)
        writer.write(requests(MANY, head("Echo"), message(b"")))
        assert await most_in_a_turn(lambda: len(one.toys.calls), MANY) <= PIECES
        writer.close()

    with_a_door(test)


def test_new_connections_are_started_a_few_in_one_turn() -> None:
    """Which begin while the loop is busy elsewhere, and speak all at once then."""

    async def test(one: Served) -> None:
        sockets = [socket.create_connection(("127.0.0.1", one.port)) for _ in range(MANY)]
        while len(one.door.unidentified) < MANY:
            await asyncio.sleep(0)
        for each in sockets:
            each.sendall(PREFACE + wire.frame(wire.SETTINGS, 0, 0))
        assert await most_in_a_turn(lambda: len(one.door.connections), MANY) <= PIECES
        for each in sockets:
            each.close()

    with_a_door(test)


def test_compressed_messages_are_unpacked_a_few_in_one_turn() -> None:
    async def test(one: Served) -> None:
        _, writer = await connected(one)
        packed = message(gzip.compress(REQUEST(value=bytes(50_000)).SerializeToString()), 1)
        writer.write(requests(MANY, head("Refuse", grpc_encoding="gzip"), packed))
        assert await most_in_a_turn(lambda: len(one.finished), MANY) <= PIECES
        writer.close()

    with_a_door(test)


def test_messages_of_one_stream_are_handled_a_few_in_one_turn() -> None:
    async def test(one: Served) -> None:
        _, writer = await connected(one)
        writer.write(requests(1, head("Talk"), message(b"") * MANY, ended=False))
        await one.toys.opened.wait()
        told = one.toys.streams[0].told
        assert await most_in_a_turn(lambda: len(told), MANY) <= PIECES
        writer.close()

    with_a_door(test)


def test_simultaneous_deadlines_are_handled_a_few_in_one_turn() -> None:
    async def test(one: Served) -> None:
        _, writer = await connected(one)
        writer.write(requests(MANY, head("Wait", grpc_timeout="4S"), message(b"")[:3], ended=False))
        while len(one.started) < MANY:
            await asyncio.sleep(0)
        assert not one.finished
        assert await most_in_a_turn(lambda: len(one.finished), MANY) <= PIECES
        writer.close()

    with_a_door(test)


def test_streams_of_an_ended_connection_are_aborted_a_few_in_one_turn() -> None:
    async def test(one: Served) -> None:
        _, writer = await connected(one)
        writer.write(requests(MANY, head("Talk"), b"", ended=False))
        while len(one.toys.streams) < MANY:
            await asyncio.sleep(0)
        writer.transport.abort()
        assert await most_in_a_turn(lambda: len(one.finished), MANY) <= PIECES
        assert all(stream.told == ["closed"] for stream in one.toys.streams)

    with_a_door(test)


def test_messages_for_many_streams_are_sent_a_few_in_one_turn() -> None:
    async def test(one: Served) -> None:
        _, writer = await connected(one)
        writer.write(requests(MANY, head("Talk"), b"", ended=False))
        while len(one.toys.streams) < MANY:
            await asyncio.sleep(0)
        connection = next(iter(one.door.connections)).h2
        before = connection.outbound.sent
        for stream in one.toys.streams:
            stream.responses.send(b"x")
        per_message = len(message(b"x"))
        sent = lambda: (connection.outbound.sent - before) // per_message  # noqa: E731
        assert await most_in_a_turn(sent, MANY) <= PIECES
        writer.close()

    with_a_door(test)


def test_pages_are_made_few_at_a_time_for_one_connection() -> None:
    making: list[asyncio.Future[None]] = []
    most = 0

    async def serve(request: PageRequest) -> PageResponse:
        nonlocal most
        future = asyncio.get_running_loop().create_future()
        making.append(future)
        most = max(most, len(making))
        await future
        return PageResponse(200, [], b"page")

    async def run() -> None:
        async with served(pages=serve) as one:
            reader, writer = await connected(one)
            get = block([(":method", "GET"), (":scheme", "http"), (":path", "/metrics")])
            for stream in range(1, 200, 2):
                writer.write(wire.frame(wire.HEADERS, 5, stream, get))
            made = 0
            while made < 100:
                await asyncio.sleep(0)
                while making:
                    made += 1
                    making.pop().set_result(None)
            got = b""
            while got.count(b"page") < 100:
                got += await reader.read(65_536)
            writer.close()

    asyncio.run(asyncio.wait_for(run(), 60))
    assert most <= http2.AT_ONCE


def test_pages_wait_while_much_is_unread() -> None:
    made = 0

    async def serve(request: PageRequest) -> PageResponse:
        nonlocal made
        made += 1
        return PageResponse(200, [], bytes(1 << 20))

    async def run() -> None:
        async with served(pages=serve) as one:
            _, writer = await connected(one)
            get = block([(":method", "GET"), (":scheme", "http"), (":path", "/metrics")])
            for stream in range(1, 200, 2):
                writer.write(wire.frame(wire.HEADERS, 5, stream, get))
            while made < answer_queue.MUCH >> 20:
                await asyncio.sleep(0)
            for _ in range(1000):
                await asyncio.sleep(0)
            waits = next(iter(one.door.connections)).h2.outbound.queued
            assert waits <= 16 << 20
            assert made < 100
            writer.transport.abort()

    asyncio.run(asyncio.wait_for(run(), 60))


def test_pages_that_are_given_up_do_not_wait() -> None:
    made = asyncio.Event()

    async def serve(request: PageRequest) -> PageResponse:
        await made.wait()
        return PageResponse(200, [], b"")

    async def run() -> None:
        async with served(pages=serve) as one:
            reader, writer = await connected(one)
            page = block([(":method", "GET"), (":scheme", "http"), (":path", "/health")])
            flags = wire.END_HEADERS | wire.END_STREAM
            for stream in range(1, 2 * 100, 2):
                writer.write(wire.frame(wire.HEADERS, flags, stream, page))
                writer.write(wire.reset(stream, 8) if stream > 2 * http2.AT_ONCE else b"")
            writer.write(wire.frame(wire.PING, 0, 0, b"the last"))
            seen = b""
            while b"the last" not in seen:
                seen += await reader.read(1000)
            (client,) = one.door.connections
            assert len(client.h2.streams) == http2.AT_ONCE
            assert not client.pages._waiting
            made.set()
            writer.close()

    asyncio.run(asyncio.wait_for(run(), 60))


def test_nothing_is_done_for_messages_that_the_socket_does_not_take() -> None:
    async def test(one: Served) -> None:
        reader, writer = await connected(one)
        writer.write(requests(1, head("Talk"), message(b""), ended=False))
        await one.toys.opened.wait()
        (handler,) = one.toys.streams
        (client,) = one.door.connections
        client.pause_writing()
        handler.responses.send(b"one")
        works, work = 0, client.work

        def counted() -> bool:
            nonlocal works
            works += 1
            return work()

        client.work = counted  # type: ignore[method-assign]
        for _ in range(100):
            await asyncio.sleep(0)
        assert works <= 2
        assert one.door.budget.idle
        client.resume_writing()
        seen = b""
        while message(b"one") not in seen:
            seen += await reader.read(1000)
        writer.close()

    with_a_door(test)
