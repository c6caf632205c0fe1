"""Timers that run late, on a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from rusd.door.http.body import BODY_SECONDS, Body, BodyMemory
from rusd.door.lateness import LATE_SECONDS, Timeout, is_late
from rusd.rpc.pages import BodyTimeout
from tests.unit.door.clock import on_a_clock, the_clock


@pytest.mark.parametrize(("late", "expected"), [(0.0, False), (0.9, False), (1.1, True)])
def test_a_timer_is_late_after_a_second(late: float, expected: bool) -> None:
    assert is_late(500.0, 500.0 + late * LATE_SECONDS) is expected


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_timeout_in_time_expires() -> None:
    async def main() -> None:
        expired: list[bool] = []
        Timeout(100, lambda: expired.append(True))
        await turns()
        assert not expired
        the_clock().ahead += 100
        await turns()
        assert expired == [True]

    on_a_clock(main)


def test_a_late_timeout_waits_a_little_longer() -> None:
    async def main() -> None:
        expired: list[bool] = []
        Timeout(100, lambda: expired.append(True))
        for _ in range(3):
            the_clock().ahead += 1000
            await turns()
            assert not expired
        the_clock().ahead += LATE_SECONDS
        await turns()
        assert expired == [True]

    on_a_clock(main)


class Waiting(Body):
    """A body whose only chunk comes once `came` is set."""

    def __init__(self) -> None:
        super().__init__(None, BodyMemory())
        self.came = asyncio.Event()

    async def chunks(self) -> AsyncIterator[bytes]:
        await self.came.wait()
        yield b"whole"


@pytest.mark.parametrize("comes", [True, False])
def test_a_body_that_waits_since_the_member_stood_still_is_read(comes: bool) -> None:
    async def main() -> None:
        body = Waiting()
        reading = asyncio.ensure_future(body.read())
        await turns()
        the_clock().ahead += 10 * BODY_SECONDS
        await turns()
        assert not reading.done()
        if comes:
            body.came.set()
            assert await reading == b"whole"
            return
        the_clock().ahead += LATE_SECONDS
        await turns()
        with pytest.raises(BodyTimeout):
            await reading

    on_a_clock(main)


def test_an_excused_timeout_waits_a_little_longer() -> None:
    async def main() -> None:
        expired: list[bool] = []
        excuses = [False, True, True]
        Timeout(100, lambda: expired.append(True), lambda: excuses.pop())
        the_clock().ahead += 100
        for _ in range(2):
            await turns()
            assert not expired
            the_clock().ahead += LATE_SECONDS
        await turns()
        assert expired == [True]
        assert not excuses

    on_a_clock(main)


@pytest.mark.parametrize("stood_still", [0, 1000])
def test_a_cancelled_timeout_does_not_expire(stood_still: float) -> None:
    async def main() -> None:
        expired: list[bool] = []
        timeout = Timeout(100, lambda: expired.append(True))
        the_clock().ahead += stood_still
        await turns()
        timeout.cancel()
        the_clock().ahead += 100
        await turns()
        assert not expired

    on_a_clock(main)
