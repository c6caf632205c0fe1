"""The states of calls: each is entered in order, over the wire."""

from __future__ import annotations

import asyncio

import pytest

from rusd.door.grpc.call_states import RequestState, ResponseState, UnaryState
from rusd.door.grpc.streaming import StreamCall
from rusd.door.grpc.unary import UnaryCall
from tests.unit.door.test_hostile_clients import Client
from tests.unit.door.toys import REQUEST, served

ECHO = REQUEST(key=b"k").SerializeToString()


def states_of(monkeypatch: pytest.MonkeyPatch, kind: type, name: str) -> list[object]:
    """Every value that the attribute `name` of any `kind` takes, without repetitions."""
    seen: list[object] = []
    slot = kind.__dict__[name]

    class Recording:
        def __get__(self, one: object, owner: object = None) -> object:
            return slot.__get__(one, owner)

        def __set__(self, one: object, value: object) -> None:
            if not seen or seen[-1] is not value:
                seen.append(value)
            slot.__set__(one, value)

    monkeypatch.setattr(kind, name, Recording())
    return seen


@pytest.mark.parametrize(
    ("name", "ended", "expected"),
    [
        ("Echo", True, [UnaryState.RECEIVING, UnaryState.RUNNING, UnaryState.ENDED]),
        ("Refuse", True, [UnaryState.RECEIVING, UnaryState.RUNNING, UnaryState.ENDED]),
        (
            "Echo",
            False,
            [UnaryState.RECEIVING, UnaryState.READY, UnaryState.RUNNING, UnaryState.ENDED],
        ),
    ],
)
def test_a_unary_call_passes_its_states_in_order(
    name: str, ended: bool, expected: list[UnaryState], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = states_of(monkeypatch, UnaryCall, "_state")

    async def run() -> None:
        async with served() as one:
            client = Client()
            await client.connect(one.port)
            await client.answer(client.call(name, ECHO, ended=ended))
            client.writer.close()

    asyncio.run(asyncio.wait_for(run(), 60))
    assert seen == expected


def test_a_unary_call_that_is_reset_ends_from_any_state(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = states_of(monkeypatch, UnaryCall, "_state")

    async def run() -> None:
        async with served() as one:
            client = Client()
            await client.connect(one.port)
            client.writer.write(client.h2.data_to_send())
            half, whole = client.open("Echo"), client.call("Wait", ECHO)
            client.writer.write(client.h2.data_to_send())
            while one.toys.waiting is None:
                await asyncio.sleep(0.01)
            client.h2.reset_stream(half)
            client.h2.reset_stream(whole)
            client.writer.write(client.h2.data_to_send())
            while len(one.finished) < 2:
                await asyncio.sleep(0.01)
            assert one.toys.waiting.cancelled()
            client.writer.close()

    asyncio.run(asyncio.wait_for(run(), 60))
    assert seen == [
        UnaryState.RECEIVING,
        UnaryState.RUNNING,
        UnaryState.ENDED,
    ]


def test_both_sides_of_a_stream_pass_their_states_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    requests = states_of(monkeypatch, StreamCall, "_request")
    responses = states_of(monkeypatch, StreamCall, "_response")

    async def run() -> None:
        async with served() as one:
            stream = one.talk()
            await stream.write(ECHO)
            await one.toys.opened.wait()
            handler = one.toys.streams[0]
            handler.responses.send(ECHO)
            await stream.read()
            await stream.done_writing()
            while "half closed" not in handler.told:
                await asyncio.sleep(0.01)
            handler.responses.finish()
            await handler.over.wait()

    asyncio.run(asyncio.wait_for(run(), 60))
    assert requests == list(RequestState)
    assert responses == list(ResponseState)
