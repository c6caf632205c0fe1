"""The order of the workers and their time, by a clock that only work advances."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from rusd.door.time_budget import (
    BACKLOG,
    CREDIT,
    LEAST_QUANTUM,
    QUANTUM,
    REST,
    ROUND,
    TURN,
    TimeBudget,
)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Job:
    """`pieces` of work that take `each` seconds of the clock."""

    def __init__(self, budget: TimeBudget, clock: Clock, pieces: int, each: float) -> None:
        self.used = 0.0
        self.waiting = False
        self.left = pieces
        self.portions: list[int] = []
        self._budget, self._clock, self._each = budget, clock, each

    def work(self) -> bool:
        portion = 0
        while self.left:
            self.left -= 1
            portion += 1
            self._clock.now += self._each
            if self._budget.spent():
                break
        self.portions.append(portion)
        return bool(self.left)


def on_a_loop(test: Callable[[TimeBudget, Clock], object]) -> None:
    async def run() -> None:
        clock = Clock()
        await test(TimeBudget(clock), clock)  # type: ignore[misc]

    asyncio.run(run())


async def turn() -> None:
    """One turn of the loop: everything that was asked for by now has run."""
    await asyncio.sleep(0)


def test_a_turn_ends_when_its_time_is_up() -> None:
    async def test(budget: TimeBudget, clock: Clock) -> None:
        jobs = [Job(budget, clock, 1000, QUANTUM / 10) for _ in range(100)]
        for job in jobs:
            budget.run(job)
        while not budget.idle:
            before = clock.now
            await turn()
            assert clock.now - before <= TURN + QUANTUM
        assert all(job.left == 0 for job in jobs)

    on_a_loop(test)


def test_what_arrives_with_little_used_comes_before_what_was_put_off() -> None:
    async def test(budget: TimeBudget, clock: Clock) -> None:
        heavy = [Job(budget, clock, 100_000, QUANTUM / 2) for _ in range(50)]
        for job in heavy:
            budget.run(job)
        for _ in range(200):
            await turn()
        for _ in range(20):
            light = Job(budget, clock, 1, QUANTUM / 10)
            budget.run(light)
            if light.left:
                await turn()
            assert light.left == 0
            await turn()

    on_a_loop(test)


def test_many_are_served_alike() -> None:
    async def test(budget: TimeBudget, clock: Clock) -> None:
        # One has pieces ten times as long as the others': it gets a tenth as many of them.
        jobs = [Job(budget, clock, 10_000, QUANTUM) for _ in range(9)]
        jobs.append(Job(budget, clock, 10_000, 10 * QUANTUM))
        for job in jobs:
            budget.run(job)
        while clock.now < 10:
            await asyncio.sleep(0.001)
        shares = [job.used for job in jobs]
        assert max(shares) - min(shares) < 2 * (CREDIT + 10 * QUANTUM)

    on_a_loop(test)


def test_time_used_while_no_worker_waits_is_not_charged() -> None:
    async def test(budget: TimeBudget, clock: Clock) -> None:
        busy = Job(budget, clock, 0, QUANTUM / 10)
        for _ in range(10_000):
            busy.left = 5
            budget.run(busy)
            await turn()
        hostile = Job(budget, clock, 10_000, QUANTUM)
        budget.run(hostile)
        start = clock.now
        busy.left = 5
        budget.run(busy)
        while busy.left:
            await turn()
        assert clock.now - start < CREDIT + TURN

    on_a_loop(test)


def test_work_put_off_leaves_room_for_what_arrives() -> None:
    async def test(budget: TimeBudget, clock: Clock) -> None:
        budget.run(Job(budget, clock, 1000, QUANTUM))
        budget.defer(Job(budget, clock, 1000, QUANTUM))
        await turn()
        before = clock.now
        await turn()
        assert BACKLOG <= clock.now - before < TURN

    on_a_loop(test)


def test_a_part_runs_early_only_if_its_worker_might_run_and_none_is_at_work() -> None:
    async def test(budget: TimeBudget, clock: Clock) -> None:
        early: list[str] = []

        def part(name: str, left: bool = False) -> Callable[[], bool]:
            return lambda: early.append(name) or left  # type: ignore[func-returns-value]

        class Nested(Job):
            def work(self) -> bool:
                budget.run_early(other, part("while another works"))
                return super().work()

        other = Job(budget, clock, 3, 0)
        budget.run_early(other, part("first", left=True))
        assert other.waiting
        budget.run_early(other, part("while it waits"))
        await turn()
        assert other.portions == [3]
        budget.run(Nested(budget, clock, 1, 0))
        budget.run_early(other, part("second"))
        budget.run(Job(budget, clock, 1, TURN))
        budget.run_early(other, part("after the time of the turn"))
        assert early == ["first", "second"]

    on_a_loop(test)


def test_after_a_piece_that_is_too_long_what_is_put_off_rests() -> None:
    async def test(budget: TimeBudget, clock: Clock) -> None:
        hostile = Job(budget, clock, 3, TURN + REST)
        loop = asyncio.get_running_loop()
        budget.run(hostile)
        start = loop.time()
        while hostile.left == 2:
            await turn()
        assert loop.time() - start >= REST * 0.9
        # Others do not rest, nor if they came when the turn was over.
        light = Job(budget, clock, 1, QUANTUM / 10)
        budget.defer(light)
        start = loop.time()
        while light.left:
            await turn()
        assert loop.time() - start < REST / 2
        assert hostile.left == 1

    on_a_loop(test)


async def answered(budget: TimeBudget, clock: Clock, requests: int) -> float:
    """Return for how long others work until a new connection has made its requests one by one."""
    new = Job(budget, clock, 0, QUANTUM / 10)
    new.used = budget.enter()
    start = clock.now
    for _ in range(requests):
        new.left += 1
        budget.run(new)
        while new.left:
            await turn()
        await turn()
    return clock.now - start


def test_a_new_connection_does_not_wait_for_busy_known_ones() -> None:
    async def test(budget: TimeBudget, clock: Clock) -> None:
        for _ in range(400):
            busy = Job(budget, clock, 100_000, QUANTUM / 10)
            busy.used = budget.enter()
            budget.run(busy)
        while clock.now < 2:  # all of them are known
            await turn()
        assert await answered(budget, clock, 3) < 6 * TURN

    on_a_loop(test)


def test_new_connections_with_endless_work_keep_another_one_waiting_for_a_round_only() -> None:
    async def test(budget: TimeBudget, clock: Clock) -> None:
        for _ in range(400):
            busy = Job(budget, clock, 100_000, QUANTUM / 10)
            busy.used = budget.enter()
            budget.run(busy)
        # (Half of the time is for those that had their first turn.)
        assert await answered(budget, clock, 3) < 3 * 400 * LEAST_QUANTUM

    on_a_loop(test)


def test_a_round_of_many_busy_connections_is_short() -> None:
    async def test(budget: TimeBudget, clock: Clock) -> None:
        jobs = [Job(budget, clock, 100_000, QUANTUM / 10) for _ in range(300)]
        for job in jobs:
            budget.run(job)
        while clock.now < 1:
            await turn()
        before = [job.left for job in jobs]
        start = clock.now
        while any(job.left == left for job, left in zip(jobs, before, strict=True)):
            await turn()
        assert clock.now - start < 2 * ROUND

    on_a_loop(test)


def test_new_connections_without_end_do_not_keep_a_known_one_waiting() -> None:
    """Each comes, asks for as much as it gets in one go, and is gone: none of them ever has used
    more than the known one.
    """

    async def test(budget: TimeBudget, clock: Clock) -> None:
        known = Job(budget, clock, 1, QUANTUM / 10)
        known.used = budget.enter()
        budget.run(known)

        def newcomers(number: int) -> None:
            for _ in range(number):
                new = Job(budget, clock, 1, QUANTUM / 2)
                new.used = budget.enter()
                budget.run(new)

        newcomers(1000)
        for _ in range(100):
            newcomers(10)
            known.left += 1
            budget.run(known)
            await turn()
            await turn()
            assert known.left == 0

    on_a_loop(test)
