"""The gRPC door, from a grpcio client over a real socket."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest

from rusd.door.grpc import messages
from rusd.door.grpc.server import OVERHEAD_BYTES, GrpcDoor
from rusd.door.grpc.streaming import HIGH_BYTES
from rusd.rpc.errors import KEY_NOT_FOUND, Code
from tests.support.tasks import unexpected
from tests.unit.door.toys import LIMIT, REQUEST, Recorder, Served, Toys, served


def over_the_wire(test: Callable[[Served], Awaitable[None]]) -> None:
    async def run() -> None:
        async with served() as one:
            await asyncio.wait_for(test(one), 30)

    asyncio.run(run())


def test_a_unary_call_gets_its_encoded_answer() -> None:
    async def test(one: Served) -> None:
        raw = REQUEST(key=b"k", value=b"v").SerializeToString()
        assert await one.call("toy.Toys/Echo", raw) == REQUEST(key=b"k", value=b"v")

    over_the_wire(test)


def test_a_service_sees_metadata_raw_bytes_and_deadline() -> None:
    async def test(one: Served) -> None:
        raw = REQUEST(key=b"k").SerializeToString()
        await one.call("toy.Toys/Echo", raw)
        call = one.toys.calls[0]
        assert call.raw == raw
        assert call.metadata["who"] == "test"
        assert call.deadline is not None
        assert "127.0.0.1" in call.caller.address

    over_the_wire(test)


def test_an_etcd_error_keeps_its_code_and_text() -> None:
    async def test(one: Served) -> None:
        assert await one.refusal("toy.Toys/Refuse") == (
            "INVALID_ARGUMENT",
            "etcdserver: key not found",
        )

    over_the_wire(test)


def test_a_bug_in_a_service_is_that_calls_error_alone() -> None:
    async def test(one: Served) -> None:
        assert (await one.refusal("toy.Toys/Break"))[0] == "UNKNOWN"
        assert await one.call("toy.Toys/Echo", b"") == REQUEST()

    over_the_wire(test)


def test_garbage_is_an_internal_error() -> None:
    async def test(one: Served) -> None:
        code, details = await one.refusal("toy.Toys/Echo", b"\xff\xff")
        assert code == "INTERNAL"
        assert details.startswith("grpc: error unmarshalling request: ")
        assert await one.call("toy.Toys/Echo", b"") == REQUEST()

    over_the_wire(test)


def test_a_message_above_the_limit_is_refused_in_grpc_gos_words() -> None:
    async def test(one: Served) -> None:
        limit = LIMIT + OVERHEAD_BYTES
        assert await one.refusal("toy.Toys/Echo", b"\x12" * (limit + 1)) == (
            "RESOURCE_EXHAUSTED",
            f"grpc: received message larger than max ({limit + 1} vs. {limit})",
        )

    over_the_wire(test)


def test_unknown_methods_and_services_are_unimplemented() -> None:
    async def test(one: Served) -> None:
        assert await one.refusal("toy.Toys/Nope") == (
            "UNIMPLEMENTED",
            "unknown method Nope for service toy.Toys",
        )
        assert await one.refusal("no.Such/Nope") == ("UNIMPLEMENTED", "unknown service no.Such")
        assert await one.refusal("x") == ("UNIMPLEMENTED", 'malformed method name: "/x"')

    over_the_wire(test)


def test_an_unknown_stream_is_refused_before_its_first_message() -> None:
    async def test(one: Served) -> None:
        stream = one.channel.stream_stream("/toy.Toys/Nope")()
        assert await stream.code() == grpc.StatusCode.UNIMPLEMENTED

    over_the_wire(test)


def test_an_answer_that_a_service_drops_is_unavailable() -> None:
    async def test(one: Served) -> None:
        call = asyncio.ensure_future(one.refusal("toy.Toys/Wait"))
        while one.toys.waiting is None:
            await asyncio.sleep(0.01)
        one.toys.waiting.cancel()
        assert await call == ("UNAVAILABLE", "etcdserver: server stopped")

    over_the_wire(test)


def test_every_call_is_counted_once_with_its_status() -> None:
    async def test(one: Served) -> None:
        await one.call("toy.Toys/Echo", b"")
        await one.refusal("toy.Toys/Refuse")
        await one.refusal("toy.Toys/Wait", timeout=0.1)
        await one.refusal("toy.Toys/Nope")
        stream = one.talk()
        await stream.write(b"")
        await one.toys.opened.wait()
        stream.cancel()
        await one.toys.streams[0].over.wait()
        while len(one.finished) < 5:
            await asyncio.sleep(0.01)
        assert sorted(one.finished)[:3] == [
            ("/toy.Toys/Echo", Code.OK),
            ("/toy.Toys/Refuse", Code.INVALID_ARGUMENT),
            ("/toy.Toys/Talk", Code.CANCELED),
        ]
        path, code = sorted(one.finished)[3]
        # Which side sees the deadline first is a matter of microseconds.
        assert path == "/toy.Toys/Wait"
        assert code in (Code.DEADLINE_EXCEEDED, Code.CANCELED)
        assert sorted(one.finished)[4] == ("unknown", Code.UNIMPLEMENTED)
        assert sorted(one.started) == [path for path, _ in sorted(one.finished)[:4]]

    over_the_wire(test)


def test_a_call_whose_deadline_passes_is_released() -> None:
    async def test(one: Served) -> None:
        assert (await one.refusal("toy.Toys/Wait", timeout=0.1))[0] == "DEADLINE_EXCEEDED"
        assert one.toys.waiting is not None
        await asyncio.wait({one.toys.waiting})
        assert one.toys.waiting.cancelled()

    over_the_wire(test)


def test_a_server_stream_sends_everything_before_its_status() -> None:
    async def test(one: Served) -> None:
        method = one.channel.unary_stream(
            "/toy.Toys/Count", response_deserializer=REQUEST.FromString
        )
        counted = [m.lease async for m in method(REQUEST(lease=1000).SerializeToString())]
        assert counted == list(range(1000))
        failing = method(REQUEST(lease=3, value=b"x").SerializeToString())
        with pytest.raises(grpc.aio.AioRpcError) as error:
            assert [m.lease async for m in failing] == [0, 1, 2]
        assert error.value.details() == "etcdserver: key not found"

    over_the_wire(test)


def test_a_bidirectional_stream_carries_both_ways_and_ends_when_finished() -> None:
    async def test(one: Served) -> None:
        stream = one.talk()
        await stream.write(REQUEST(key=b"one").SerializeToString())
        await one.toys.opened.wait()
        handler = one.toys.streams[0]
        handler.responses.send(b"answer")
        assert await stream.read() == b"answer"
        await stream.done_writing()
        handler.responses.finish()
        assert await stream.read() is grpc.aio.EOF
        await handler.over.wait()
        assert handler.told[0] == b"one"
        assert handler.told[-1] == "closed"
        assert handler.told.count("closed") == 1

    over_the_wire(test)


def test_very_many_messages_in_frames_of_their_own_cost_little_and_fill_no_window() -> None:
    """Counted in calls of the door's functions, since a time would depend on the machine."""
    count = 3000
    body = REQUEST(key=b"k" * 500).SerializeToString()
    calls = 0

    def called(frame: Any, event: str, _: object) -> None:
        nonlocal calls
        calls += event == "call" and "/rusd/door/" in frame.f_code.co_filename

    async def test(one: Served) -> None:
        stream = one.talk()
        await stream.write(body)
        await one.toys.opened.wait()
        handler = one.toys.streams[0]
        sys.setprofile(called)
        try:
            for _ in range(count):
                await stream.write(body)
            while len(handler.told) <= count:
                await asyncio.sleep(0.01)
        finally:
            sys.setprofile(None)
        stream.cancel()
        await handler.over.wait()
        assert handler.told[: count + 1] == [b"k" * 500] * (count + 1)

    over_the_wire(test)
    assert calls < 34 * count


def test_a_client_that_half_closes_is_still_answered() -> None:
    async def test(one: Served) -> None:
        stream = one.talk()
        await stream.write(REQUEST(key=b"one").SerializeToString())
        await stream.done_writing()
        await one.toys.opened.wait()
        handler = one.toys.streams[0]
        while "half closed" not in handler.told:
            await asyncio.sleep(0.01)
        handler.responses.send(b"late")
        assert await stream.read() == b"late"
        assert not handler.over.is_set()
        stream.cancel()
        await handler.over.wait()

    over_the_wire(test)


def test_a_client_that_cancels_closes_its_stream_once() -> None:
    async def test(one: Served) -> None:
        stream = one.talk()
        await stream.write(REQUEST(key=b"one").SerializeToString())
        await one.toys.opened.wait()
        stream.cancel()
        handler = one.toys.streams[0]
        await handler.over.wait()
        assert handler.told.count("closed") == 1

    over_the_wire(test)


def test_garbage_on_a_stream_ends_that_stream_with_an_error() -> None:
    async def test(one: Served) -> None:
        bad, good = one.talk(), one.talk()
        await bad.write(b"\xff\xff")
        assert await bad.code() == grpc.StatusCode.INTERNAL
        details = await bad.details()
        assert details.startswith("grpc: failed to unmarshal the received message ")
        await good.write(REQUEST(key=b"fine").SerializeToString())
        while not any(b"fine" in handler.told for handler in one.toys.streams):
            await asyncio.sleep(0.01)

    over_the_wire(test)


def test_a_reader_that_stalls_turns_the_outlet_unready_until_it_reads_again() -> None:
    async def test(one: Served) -> None:
        stream = one.talk()
        await stream.write(REQUEST(key=b"one").SerializeToString())
        await one.toys.opened.wait()
        handler = one.toys.streams[0]
        sent = 0
        while handler.responses.ready():
            handler.responses.send(b"x" * 65536)
            sent += 1
            await asyncio.sleep(0)
        assert "drained" not in handler.told
        for _ in range(sent):
            assert await stream.read() == b"x" * 65536
        while "drained" not in handler.told:
            await asyncio.sleep(0.01)
        assert handler.responses.ready()

    over_the_wire(test)


def test_a_client_that_does_not_read_is_not_listened_to() -> None:
    async def test(one: Served) -> None:
        def answer(handler: Recorder) -> Callable[[object], None]:
            return lambda request: handler.responses.send(b"x" * (HIGH_BYTES // 4))

        stream = one.talk()
        await stream.write(REQUEST(key=b"first").SerializeToString())
        await one.toys.opened.wait()
        handler = one.toys.streams[0]
        handler.on_received = answer(handler)
        writing = asyncio.ensure_future(_write_forever(stream))
        heard = -1
        # (What a turn has gathered and not yet written makes it unready for a moment as well.)
        while handler.responses.ready() or handler.told.count(b"more") != heard:
            heard = handler.told.count(b"more")
            await one.call("toy.Toys/Echo", b"")
        await one.call("toy.Toys/Echo", b"")
        assert handler.told.count(b"more") == heard
        assert await stream.read() == b"x" * (HIGH_BYTES // 4)
        while handler.told.count(b"more") == heard:
            await stream.read()
        writing.cancel()
        stream.cancel()
        await handler.over.wait()

    over_the_wire(test)


async def _write_forever(stream: Any) -> None:
    while True:
        await stream.write(REQUEST(key=b"more").SerializeToString())


def test_a_bug_in_a_stream_ends_that_stream_and_closes_it_once() -> None:
    async def test(one: Served) -> None:
        stream = one.talk()
        await stream.write(REQUEST(key=b"first").SerializeToString())
        await one.toys.opened.wait()
        handler = one.toys.streams[0]

        def crash(request: object) -> None:
            raise ZeroDivisionError("a bug")

        handler.on_received = crash
        await stream.write(REQUEST(key=b"second").SerializeToString())
        assert await stream.code() == grpc.StatusCode.UNKNOWN
        assert await stream.details() == "internal error"
        await handler.over.wait()
        assert handler.told.count("closed") == 1

    over_the_wire(test)


def test_a_stream_that_cannot_be_opened_says_why() -> None:
    async def test(one: Served) -> None:
        one.toys.refusal = KEY_NOT_FOUND()
        stream = one.talk()
        assert await stream.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert await stream.details() == KEY_NOT_FOUND.message
        one.toys.refusal = ZeroDivisionError("a bug")
        stream = one.talk()
        assert await stream.code() == grpc.StatusCode.UNKNOWN

    over_the_wire(test)


def test_stopping_ends_streams_as_a_stopped_server() -> None:
    async def test(one: Served) -> None:
        stream = one.talk()
        await stream.write(REQUEST(key=b"one").SerializeToString())
        await one.toys.opened.wait()
        await one.door.stop(1)
        assert await stream.code() == grpc.StatusCode.UNAVAILABLE
        assert await stream.details() == "etcdserver: server stopped"

    over_the_wire(test)


def test_a_stalled_stream_holds_up_the_stop_for_the_grace_at_most() -> None:
    async def test(one: Served) -> None:
        stream = one.talk()
        await stream.write(REQUEST(key=b"one").SerializeToString())
        await one.toys.opened.wait()
        handler = one.toys.streams[0]
        while handler.responses.ready():
            handler.responses.send(b"x" * 65536)
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await one.door.stop(0.2)
            await handler.over.wait()
        assert handler.told.count("closed") == 1

    over_the_wire(test)


def test_a_port_that_is_taken_is_an_os_error() -> None:
    async def test(one: Served) -> None:
        second = GrpcDoor(
            Toys().methods(),
            fail=unexpected,
            max_request_bytes=LIMIT,
            max_concurrent_streams=100,
            keepalive_min_time=5,
        )
        with pytest.raises(OSError, match=f"cannot listen on http://127.0.0.1:{one.port}"):
            await second.start([f"http://127.0.0.1:{one.port}"])
        await second.stop(0)

    over_the_wire(test)


@pytest.mark.parametrize("method", ["Echo", "Pieces"])
def test_an_answer_longer_than_a_message_may_be_is_refused(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one piece or in many; gRPC's prefix would be wrong from 4 GiB on."""

    async def test(one: Served) -> None:
        raw = REQUEST(value=bytes(5000)).SerializeToString()
        monkeypatch.setattr(messages, "SEND_AT_MOST", len(raw))
        await one.call(f"toy.Toys/{method}", raw)
        monkeypatch.setattr(messages, "SEND_AT_MOST", len(raw) - 1)
        assert await one.refusal(f"toy.Toys/{method}", raw) == (
            "RESOURCE_EXHAUSTED",
            f"grpc: trying to send message larger than max ({len(raw)} vs. {len(raw) - 1})",
        )
        assert await one.call("toy.Toys/Echo", b"") == REQUEST()

    over_the_wire(test)


def test_the_bound_of_an_answer_is_etcds() -> None:
    assert messages.SEND_AT_MOST == 2**31 - 1
