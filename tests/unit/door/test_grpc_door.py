"""The gRPC door, from a grpcio client over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import grpc
import pytest

from rusd.door.grpc_door import OVERHEAD_BYTES, GrpcDoor
from tests.unit.door.toys import LIMIT, REQUEST, Served, Toys, served


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
        assert "127.0.0.1" in call.peer

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
        assert details.startswith("grpc: ")

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

    over_the_wire(test)


def test_a_call_whose_deadline_passes_is_let_go() -> None:
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
        handler.outlet.send(b"answer")
        assert await stream.read() == b"answer"
        await stream.done_writing()
        handler.outlet.finish()
        assert await stream.read() is grpc.aio.EOF
        await handler.over.wait()
        assert handler.told[0] == b"one"
        assert handler.told[-1] == "closed"
        assert handler.told.count("closed") == 1

    over_the_wire(test)


def test_a_client_that_half_closes_is_still_answered() -> None:
    async def test(one: Served) -> None:
        stream = one.talk()
        await stream.write(REQUEST(key=b"one").SerializeToString())
        await stream.done_writing()
        await one.toys.opened.wait()
        handler = one.toys.streams[0]
        while "half closed" not in handler.told:
            await asyncio.sleep(0.01)
        handler.outlet.send(b"late")
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
        while handler.outlet.ready():
            handler.outlet.send(b"x" * 65536)
            sent += 1
            await asyncio.sleep(0)
        assert "drained" not in handler.told
        for _ in range(sent):
            assert await stream.read() == b"x" * 65536
        while "drained" not in handler.told:
            await asyncio.sleep(0.01)
        assert handler.outlet.ready()

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


def test_a_port_that_is_taken_is_an_os_error() -> None:
    async def test(one: Served) -> None:
        second = GrpcDoor(
            Toys().methods(),
            max_request_bytes=LIMIT,
            max_concurrent_streams=100,
            keepalive_min_time=5,
            finished=lambda path, code: None,
        )
        with pytest.raises(OSError, match=f"cannot listen on http://127.0.0.1:{one.port}"):
            await second.start([f"http://127.0.0.1:{one.port}"])
        await second.stop(0)

    over_the_wire(test)
