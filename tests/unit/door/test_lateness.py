"""Timers that run late, on a clock that the test moves."""

from __future__ import annotations

import asyncio

import pytest

from rusd.door.lateness import LATE_SECONDS, Timeout, is_late
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
