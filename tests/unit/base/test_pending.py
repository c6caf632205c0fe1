"""Results made of others (`Pending.then`)."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from rusd.base.pending import Pending


class Refused(Exception):
    pass


def run(scenario: Callable[[Pending[int]], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(10):
            await scenario(Pending())

    asyncio.run(main())


def test_the_result_is_made_when_the_value_is_set() -> None:
    async def scenario(source: Pending[int]) -> None:
        answer = source.then(lambda number: b"%d" % number)
        told: list[bytes] = []
        for _ in range(3):
            answer.add_done_callback(lambda done: told.append(done.result()))
        assert not answer.done()
        source.set_result(7)
        source.set_result(8)
        assert told == [b"7"] * 3
        assert await answer == b"7"
        settled: Pending[int] = Pending()
        settled.give(9)
        assert settled.then(lambda number: number + 1).result() == 10

    run(scenario)


def test_exceptions_of_the_value_and_of_the_making_are_the_result() -> None:
    async def scenario(source: Pending[int]) -> None:
        def refuse(number: int) -> bytes:
            raise Refused(number)

        failed = source.then(refuse)
        source.give(1)
        with pytest.raises(Refused, match="1"):
            await failed
        other: Pending[int] = Pending()
        never = other.then(refuse)
        other.give(Refused(2))
        assert isinstance(never.exception(), Refused)
        assert never.then(refuse) is never
        with pytest.raises(Refused, match="2"):
            never.result()

    run(scenario)


def test_a_cancelled_result_is_not_made() -> None:
    async def scenario(source: Pending[int]) -> None:
        made: list[int] = []
        gone = source.then(made.append)
        assert gone.cancel()
        source.set_result(7)
        assert gone.cancelled()
        assert not made

    run(scenario)


def test_long_work_is_awaited_and_ends_when_its_result_is_cancelled() -> None:
    async def scenario(source: Pending[int]) -> None:
        started, stopped = asyncio.Event(), asyncio.Event()

        async def work() -> bytes:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                stopped.set()
            return b""

        async def quick() -> bytes:
            return b"done"

        async def refuse() -> bytes:
            raise Refused

        answer = source.then(lambda _: work())
        source.set_result(1)
        quickly: Pending[int] = Pending()
        quickly.set_result(1)
        assert await quickly.then(lambda _: quick()) == b"done"
        refused: Pending[int] = Pending()
        refused.set_result(1)
        with pytest.raises(Refused):
            await refused.then(lambda _: refuse())
        await started.wait()
        answer.cancel()
        await stopped.wait()

    run(scenario)
