"""Responses made of futures."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from rusd.rpc.errors import COMPACTED, TIMEOUT, EtcdError
from rusd.rpc.responses import after


def run(scenario: Callable[[asyncio.Future[int]], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(10):
            await scenario(asyncio.get_running_loop().create_future())

    asyncio.run(main())


def test_the_answer_is_made_when_the_source_is_there() -> None:
    async def scenario(source: asyncio.Future[int]) -> None:
        answer = after(source, lambda number: b"%d" % number)
        assert not answer.done()
        source.set_result(7)
        assert await answer == b"7"

    run(scenario)


def test_errors_of_the_source_and_of_the_making_are_the_answers() -> None:
    async def scenario(source: asyncio.Future[int]) -> None:
        def refuse(number: int) -> bytes:
            raise COMPACTED()

        failed = after(source, lambda number: b"")
        source.set_exception(TIMEOUT())
        with pytest.raises(EtcdError) as caught:
            await failed
        assert caught.value == TIMEOUT()
        fine = asyncio.get_running_loop().create_future()
        fine.set_result(1)
        with pytest.raises(EtcdError) as caught:
            await after(fine, refuse)
        assert caught.value == COMPACTED()

    run(scenario)


def test_a_cancelled_answer_leaves_its_source_alone() -> None:
    async def scenario(source: asyncio.Future[int]) -> None:
        gone, stays = (after(source, lambda number: b"%d" % number) for _ in range(2))
        gone.cancel()
        source.set_result(7)
        assert await stays == b"7"
        assert gone.cancelled()

    run(scenario)


def test_long_work_is_awaited_and_ends_when_nobody_wants_it_any_more() -> None:
    async def scenario(source: asyncio.Future[int]) -> None:
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

        answer = after(source, lambda _: work())
        other = after(source, lambda _: quick())
        source.set_result(1)
        assert await other == b"done"
        await started.wait()
        answer.cancel()
        await stopped.wait()

    run(scenario)
