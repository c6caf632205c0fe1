"""Long work, a few pieces at a time."""

from __future__ import annotations

import asyncio

from rusd.api.concurrency_limit import ConcurrencyLimit


class Works:
    """Pieces of work that end when they are told to."""

    def __init__(self, most: int) -> None:
        self.limit = ConcurrencyLimit(most)
        self.begun: list[int] = []
        self.ends: dict[int, asyncio.Future[None]] = {}

    def answer(self, number: int) -> asyncio.Future[bytes]:
        return asyncio.ensure_future(self.start(number))  # type: ignore[arg-type]

    def start(self, number: int):  # type: ignore[no-untyped-def]
        return self.limit.start(lambda: self.work(number), lambda: self.start(number))

    async def work(self, number: int) -> bytes:
        self.begun.append(number)
        self.ends[number] = asyncio.get_running_loop().create_future()
        await self.ends[number]
        return b"%d" % number


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_no_more_than_the_limit_run_at_once_and_all_get_their_turn() -> None:
    async def run() -> None:
        works = Works(2)
        answers = [works.answer(number) for number in range(5)]
        for number in range(5):
            await settle()
            assert len(works.begun) == min(number + 2, 5)
            works.ends[number].set_result(None)
        assert await asyncio.gather(*answers) == [b"0", b"1", b"2", b"3", b"4"]

    asyncio.run(run())


def test_a_cancelled_call_does_not_hold_up_the_others() -> None:
    async def run() -> None:
        works = Works(1)
        answers = [works.answer(number) for number in range(4)]
        await settle()
        answers[1].cancel()  # waiting
        answers[0].cancel()  # running
        await settle()
        answers[2].cancel()  # just begun, or just about to
        await settle()
        works.ends[3].set_result(None)
        assert await answers[3] == b"3"
        assert works.limit._running == 0

    asyncio.run(run())
