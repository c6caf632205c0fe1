"""Timeouts of one connection, with the time given: none counts while the member does not read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from rusd.door.grpc.keepalive import Keepalive
from rusd.door.grpc.timeouts import FRAME_SECONDS, STALLED_SECONDS, Timeouts
from rusd.door.h2 import PREFACE
from rusd.door.h2 import frames as wire
from rusd.door.h2.errors import ENHANCE_YOUR_CALM, SETTINGS_TIMEOUT
from tests.unit.door.clock import on_a_clock, the_clock
from tests.unit.door.h2.peer import Served
from tests.unit.door.toys import REQUEST, served

SETTINGS = wire.frame(wire.SETTINGS, 0, 0)
HALF_A_FRAME = b"\x00\x40\x00\x00\x00\x00\x00\x00\x01half a frame"
INTERVAL, WAIT = 10.0, 20.0


def half_a_frame(peer: Served) -> None:
    peer.connection.receive(HALF_A_FRAME, 0.0)


def an_acknowledgement_due(peer: Served) -> None:
    peer.connection.inbound.narrow()


UNFINISHED = pytest.mark.parametrize(
    ("leave", "code"),
    [(half_a_frame, ENHANCE_YOUR_CALM), (an_acknowledgement_due, SETTINGS_TIMEOUT)],
)


def greeted() -> tuple[Served, Timeouts]:
    peer = Served()
    peer.connection.receive(PREFACE + SETTINGS, 0.0)
    return peer, Timeouts(peer.connection, Keepalive(5, INTERVAL, WAIT), 0.0)


def code_at(timeouts: Timeouts, now: float) -> int | None:
    failure = timeouts.failure(now)
    return None if failure is None else failure[0]


@UNFINISHED
def test_what_the_client_owes_is_due_after_a_while(
    leave: Callable[[Served], None], code: int
) -> None:
    peer, timeouts = greeted()
    leave(peer)
    assert code_at(timeouts, FRAME_SECONDS) is None
    assert code_at(timeouts, FRAME_SECONDS + 1) == code


@UNFINISHED
def test_what_the_client_owes_is_not_due_while_nothing_is_read(
    leave: Callable[[Served], None], code: int
) -> None:
    """And has its whole time once the member reads again."""
    peer, timeouts = greeted()
    leave(peer)
    for now in range(1, 100):
        timeouts.unread(now)
        assert code_at(timeouts, now) is None
    assert code_at(timeouts, 99 + FRAME_SECONDS) is None
    assert code_at(timeouts, 99 + FRAME_SECONDS + 1) == code


def test_the_answer_to_a_ping_is_not_due_while_nothing_is_read() -> None:
    _, timeouts = greeted()
    assert timeouts.ping_due(INTERVAL, 0.0)
    timeouts.unread(100.0)
    assert not timeouts.unresponsive(100.0, 0.0, held=False)
    assert not timeouts.ping_due(100.0, 0.0)
    assert timeouts.ping_due(100 + INTERVAL, 0.0)
    assert not timeouts.unresponsive(100 + INTERVAL + WAIT - 1, 0.0, held=False)
    assert timeouts.unresponsive(100 + INTERVAL + WAIT, 0.0, held=False)


def test_a_client_that_takes_nothing_is_gone_although_nothing_is_read() -> None:
    _, timeouts = greeted()
    for now in (0.0, STALLED_SECONDS):
        timeouts.unread(now)
        assert not timeouts.unresponsive(now, 0.0, held=True)
    timeouts.unread(STALLED_SECONDS + 1)
    assert timeouts.unresponsive(STALLED_SECONDS + 1, 0.0, held=True)


@pytest.mark.parametrize("held", [False, True], ids=["half a frame", "a full socket"])
def test_a_member_that_stood_still_judges_no_client_for_it(held: bool) -> None:
    """Neither in the first sweep after it nor in later ones that come before the whole time."""

    async def test() -> None:
        async with served() as one:
            reader, writer = await asyncio.open_connection("127.0.0.1", one.port)
            writer.write(PREFACE + SETTINGS + HALF_A_FRAME)
            assert await reader.read(1)
            while not any(each.h2.unread for each in one.door.connections):
                await asyncio.sleep(0)
            (client,) = one.door.connections
            if held:
                client.pause_writing()
            sweeps = []
            sweep = client.sweep

            def swept(now: float, *, late: bool) -> None:
                sweep(now, late=late)
                sweeps.append((late, client.h2.closed))

            client.sweep = swept  # type: ignore[method-assign]
            the_clock().ahead += 2 * STALLED_SECONDS
            while len(sweeps) < 2:
                await asyncio.sleep(0.01)
            assert sweeps == [(True, False), (False, False)]
            assert client in one.door.connections
            writer.close()
            if held:
                client.resume_writing()
            assert await one.call("toy.Toys/Echo", b"") == REQUEST()

    on_a_clock(test)
