"""Deadlines of calls, pings in both directions, and silent clients."""

from __future__ import annotations

import asyncio

from rusd.door.grpc.deadlines import Deadlines
from rusd.door.grpc.keepalive import Heartbeat, PingPolicy
from rusd.door.ports import TimedCall


class Waiting:
    def __init__(self) -> None:
        self.over = asyncio.Event()

    def expired(self) -> None:
        self.over.set()


class Owner:
    """A connection that ends its calls at once."""

    def expire(self, calls: dict[TimedCall, None]) -> None:
        for call in calls:
            call.expired()


OWNER = Owner()


def test_a_call_is_notified_when_its_deadline_has_passed_and_not_before() -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        deadlines, soon, later = Deadlines(loop), Waiting(), Waiting()
        wanted = loop.time() + 0.1
        deadlines.add(OWNER, soon, wanted)
        deadlines.add(OWNER, later, loop.time() + 1000)
        await asyncio.wait_for(soon.over.wait(), 10)
        assert loop.time() >= wanted
        assert not later.over.is_set()

    asyncio.run(run())


def test_a_call_that_has_ended_is_not_notified() -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        deadlines, over, witness = Deadlines(loop), Waiting(), Waiting()
        slot = deadlines.add(OWNER, over, loop.time() + 0.05)
        deadlines.add(OWNER, witness, loop.time() + 0.1)
        deadlines.remove(OWNER, over, slot)
        await asyncio.wait_for(witness.over.wait(), 10)
        assert not over.over.is_set()

    asyncio.run(run())


def test_pings_at_the_agreed_pace_are_borne_for_ever() -> None:
    policy = PingPolicy(5)
    assert all(policy.allows(number * 5.0, excused=False) for number in range(100))


def test_the_third_ping_in_excess_is_one_too_many() -> None:
    policy = PingPolicy(5)
    allowed = [policy.allows(number * 1.0, excused=False) for number in range(4)]
    assert allowed == [True, True, True, False]


def test_a_client_that_is_answered_between_its_pings_is_excused() -> None:
    policy = PingPolicy(5)
    assert all(policy.allows(number * 0.01, excused=True) for number in range(1000))


def test_a_silent_client_is_pinged_once_and_then_given_up() -> None:
    heartbeat = Heartbeat(10, 3)
    assert not heartbeat.due(9, heard=0)
    assert heartbeat.due(10, heard=0)
    assert not heartbeat.due(11, heard=0)
    assert not heartbeat.dead(12.9, heard=0)
    assert heartbeat.dead(13, heard=0)


def test_a_client_that_answers_its_ping_is_alive() -> None:
    heartbeat = Heartbeat(10, 3)
    assert heartbeat.due(10, heard=0)
    assert not heartbeat.dead(14, heard=11)
    assert not heartbeat.due(20, heard=11)
    assert heartbeat.due(21, heard=11)


def test_an_interval_of_zero_never_pings() -> None:
    heartbeat = Heartbeat(0, 3)
    assert not heartbeat.due(1e9, heard=0)
    assert not heartbeat.dead(1e9, heard=0)
