"""Hostile clients over real sockets: their connection is closed, other clients are not affected."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable, Iterator

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ResponseReceived, StreamEnded, TrailersReceived

from rusd.base.logs import LimitedLog
from rusd.door import closings, lateness
from rusd.door.grpc import answer_queue, server, timeouts
from rusd.door.h2 import PREFACE
from rusd.door.listen import protocol_detection
from rusd.door.ports import Worker
from tests.unit.door.toys import REQUEST, Served, served

SETTINGS = bytes(3) + b"\x04" + bytes(5)


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Seconds become tenths of them; no other test has used up the warnings."""
    monkeypatch.setattr(closings, "_warnings", LimitedLog(closings.log))
    monkeypatch.setattr(protocol_detection, "FIRST_BYTES_SECONDS", 0.3)
    monkeypatch.setattr(timeouts, "FRAME_SECONDS", 0.3)
    monkeypatch.setattr(timeouts, "STALLED_SECONDS", 0.5)
    monkeypatch.setattr(server, "SWEEP", 0.05)
    yield


def over_the_wire(test: Callable[[Served], Awaitable[None]]) -> None:
    async def run() -> None:
        async with served() as one:
            await asyncio.wait_for(test(one), 60)
            # Whatever happened: everybody else is served.
            assert await one.call("toy.Toys/Echo", b"") == REQUEST()

    asyncio.run(run())


async def closed_after(port: int, *pieces: bytes) -> bytes:
    """Send `pieces`, then nothing; return what the server sends until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
    said = await reader.read()
    writer.close()
    return said


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [PREFACE[:10]],
        [PREFACE],
        [PREFACE + SETTINGS + b"\x00\x40\x00\x00\x00\x00\x00\x00\x01half a frame"],
        [PREFACE + SETTINGS + b"\x00\x00\x01\x01\x00\x00\x00\x00\x01\x88"],
    ],
    ids=["nothing", "half a preface", "no settings", "half a frame", "headers without an end"],
)
def test_a_client_that_never_gets_to_the_point_is_closed(pieces: list[bytes]) -> None:
    async def test(one: Served) -> None:
        await closed_after(one.port, *pieces)

    over_the_wire(test)


def test_a_client_that_drips_is_closed() -> None:
    async def test(one: Served) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", one.port)
        writer.write(PREFACE + SETTINGS + b"\x00\x40\x00\x00\x00\x00\x00\x00\x01")

        async def drip() -> None:
            while True:
                writer.write(b"x")
                await asyncio.sleep(0.02)

        dripping = asyncio.ensure_future(drip())
        said = await reader.read()
        dripping.cancel()
        writer.close()
        assert b"a frame that never ends" in said

    over_the_wire(test)


def test_a_client_that_reads_nothing_and_never_ends_a_frame_is_closed() -> None:
    """Also where the reason cannot be written."""

    async def test(one: Served) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", one.port)
        writer.write(PREFACE + SETTINGS + b"\x00\x40\x00\x00\x00\x00\x00\x00\x01")
        while not (one.door.connections and next(iter(one.door.connections)).h2.unread):
            await asyncio.sleep(0.01)
        (client,) = one.door.connections
        client.pause_writing()
        while one.door.connections:
            await asyncio.sleep(0.01)
        writer.close()

    over_the_wire(test)


@pytest.mark.parametrize("junk", [b"\x00" * 5000, b"\x16\x03\x01hello", b"SSH-2.0-x\r\n", b"PRI *"])
def test_what_is_no_protocol_of_ours_is_closed(junk: bytes) -> None:
    async def test(one: Served) -> None:
        await closed_after(one.port, junk)

    over_the_wire(test)


class Client:
    """hyper-h2 on a socket, for requests that no gRPC library makes."""

    def __init__(self) -> None:
        config = H2Configuration(client_side=True, header_encoding="utf-8")
        self.h2 = H2Connection(config)
        self.h2.initiate_connection()
        self.headers: dict[str, str] = {}

    async def connect(self, port: int) -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port)

    def open(self, name: str, **headers: str) -> int:
        """Begin a call; its stream."""
        fields = {
            ":method": "POST",
            ":scheme": "http",
            ":authority": "here",
            ":path": f"/toy.Toys/{name}",
            "content-type": "application/grpc",
        } | {key.replace("_", "-"): value for key, value in headers.items()}
        stream: int = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, list(fields.items()))
        return stream

    def call(self, name: str, body: bytes, *, ended: bool = True, **headers: str) -> int:
        stream = self.open(name, **headers)
        self.h2.send_data(stream, struct.pack(">BL", 0, len(body)) + body, end_stream=ended)
        return stream

    async def answer(self, stream: int) -> dict[str, str]:
        """The headers and trailers of an answer."""
        found: dict[str, str] = {}
        self.writer.write(self.h2.data_to_send())
        while True:
            for event in self.h2.receive_data(await self.reader.read(65_536)):
                if getattr(event, "stream_id", None) != stream:
                    continue
                if isinstance(event, ResponseReceived | TrailersReceived):
                    found.update(event.headers)
                if isinstance(event, StreamEnded):
                    return found


def test_a_request_of_another_type_is_refused() -> None:
    async def test(one: Served) -> None:
        client = Client()
        await client.connect(one.port)
        answer = await client.answer(client.call("Echo", b"", content_type="application/json"))
        assert answer[":status"] == "415"
        assert answer["grpc-status"] == "3"
        client.writer.close()

    over_the_wire(test)


def test_a_request_that_does_not_end_is_answered_once_its_message_is_there() -> None:
    async def test(one: Served) -> None:
        client = Client()
        await client.connect(one.port)
        answer = await client.answer(client.call("Echo", b"", ended=False))
        assert answer["grpc-status"] == "0"
        client.writer.close()

    over_the_wire(test)


def test_a_client_that_takes_no_answers_has_few_made_for_it_and_is_closed() -> None:
    async def test(one: Served) -> None:
        client = Client()
        await client.connect(one.port)
        for _ in range(90):
            client.call("Large", b"")
        client.writer.write(client.h2.data_to_send())
        while one.toys.made < answer_queue.MUCH >> 20:
            await asyncio.sleep(0.01)
        assert await one.call("toy.Toys/Echo", b"") == REQUEST()
        # It reads on TCP, and gives no window: what it is sent at most is the window it began with.
        while await client.reader.read(65_536):
            pass
        assert one.toys.made < 90
        client.writer.close()

    over_the_wire(test)


def test_a_client_that_takes_its_answers_gets_all_of_them() -> None:
    async def test(one: Served) -> None:
        answers = [one.call("toy.Toys/Large", b"") for _ in range(90)]
        for answer in await asyncio.gather(*answers):
            assert len(answer.value) == 1 << 20

    over_the_wire(test)


def test_many_connections_that_break_off_leave_nothing_behind() -> None:
    async def test(one: Served) -> None:
        for number in range(300):
            _, writer = await asyncio.open_connection("127.0.0.1", one.port)
            writer.write((PREFACE + SETTINGS)[: number % 40])
            writer.transport.abort()
        assert await one.call("toy.Toys/Echo", b"") == REQUEST()
        while one.door.unidentified or len(one.door.connections) > 1:
            await asyncio.sleep(0.01)

    over_the_wire(test)


def test_a_call_under_way_is_answered_while_the_door_stops() -> None:
    async def run() -> None:
        async with served() as one:
            call = asyncio.ensure_future(one.call("toy.Toys/Wait", b""))
            while one.toys.waiting is None:
                await asyncio.sleep(0.01)
            stopping = asyncio.ensure_future(one.door.stop(10))
            await asyncio.sleep(0)
            one.toys.waiting.set_result(REQUEST(key=b"late").SerializeToString())
            assert (await call).key == b"late"
            await asyncio.wait_for(stopping, 5)

    asyncio.run(run())


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, str]]:
    """Level, reason and error code of each line about the end of a connection."""
    found = []
    for record in caplog.records:
        fields = getattr(record, "fields", {})
        if record.name == "rusd.door.closings":
            assert fields["remote-addr"].startswith("127.0.0.1:")
            found.append((record.levelname, fields["reason"], fields.get("error-code", "")))
    return found


@pytest.mark.parametrize(
    ("pieces", "line"),
    [
        ([], ("DEBUG", "no first bytes in time", "")),
        ([b"SSH-2.0-x\r\n"], ("DEBUG", "neither HTTP/2 nor HTTP/1.1", "")),
        ([PREFACE], ("WARNING", "a frame that never ends", "ENHANCE_YOUR_CALM")),
        (
            [PREFACE + SETTINGS + b"\x00\x00\x04\x03\x00\x00\x00\x00\x05" + bytes(4)],
            ("WARNING", "a frame for a stream that was never opened", "PROTOCOL_ERROR"),
        ),
    ],
    ids=["nothing", "another protocol", "no settings", "reset of an idle stream"],
)
def test_a_connection_that_the_server_closes_leaves_a_line_with_the_reason(
    pieces: list[bytes], line: tuple[str, str, str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "rusd.door.closings")

    async def test(one: Served) -> None:
        await closed_after(one.port, *pieces)
        while one.door.connections or one.door.unidentified:
            await asyncio.sleep(0.01)
        assert line in lines(caplog)

    over_the_wire(test)


def test_a_client_that_does_not_read_leaves_a_line_with_the_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test(one: Served) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", one.port)
        writer.write(PREFACE + SETTINGS)
        while not one.door.connections:
            await asyncio.sleep(0.01)
        (client,) = one.door.connections
        client.pause_writing()
        while one.door.connections:
            await asyncio.sleep(0.01)
        writer.close()
        assert ("WARNING", "the client does not read", "") in lines(caplog)

    over_the_wire(test)


def test_first_bytes_that_wait_for_their_turn_are_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long other connections keep them waiting."""
    monkeypatch.setattr(lateness, "LATE_SECONDS", 0.1)

    async def test(one: Served) -> None:
        budget = one.door.budget
        deferred: list[Worker] = []
        with monkeypatch.context() as busy:

            def defer(worker: Worker) -> None:
                worker.waiting = True
                deferred.append(worker)

            busy.setattr(budget, "run", defer)
            reader, writer = await asyncio.open_connection("127.0.0.1", one.port)
            writer.write(PREFACE + SETTINGS)
            while not deferred:
                await asyncio.sleep(0.01)
            (detector,) = deferred
            loop = asyncio.get_running_loop()
            end = loop.time() + 3 * protocol_detection.FIRST_BYTES_SECONDS
            while loop.time() < end:
                await asyncio.sleep(0.01)
        detector.waiting = False
        budget.run(detector)
        assert await reader.readexactly(9)
        writer.close()

    over_the_wire(test)
