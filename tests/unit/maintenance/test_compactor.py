"""Physical compaction in the background."""

import asyncio
import time
from collections.abc import Generator

import pytest

from rusd.maintenance.compactor import STRETCH, Compactor


class Slices:
    """A store with `todo` slices to remove, which counts the turns others got in between."""

    def __init__(self, todo: int) -> None:
        self.todo = todo
        self.compact_revision = 0
        self.finished_compact_revision = 0

    def compact_slices(self, limit: int) -> Generator[int, None, None]:
        target = self.compact_revision
        for _ in range(self.todo):
            yield min(limit, 10)
        self.finished_compact_revision = target


class Full(Slices):
    def compact_slices(self, limit: int) -> Generator[int, None, None]:
        yield 0
        raise OSError("no space left on device")


def test_a_waiter_is_notified_when_its_revision_is_gone() -> None:
    async def run() -> None:
        store = Slices(5)
        compactor = Compactor(store, 1000, 0, lambda failure: None)
        store.compact_revision = 10
        compactor.schedule(10)
        await compactor.finished(10)
        assert store.finished_compact_revision == 10

    asyncio.run(run())


def test_a_compaction_applied_meanwhile_is_carried_out_too() -> None:
    async def run() -> None:
        store = Slices(3)
        compactor = Compactor(store, 1000, 0, lambda failure: None)
        store.compact_revision = 10
        compactor.schedule(10)
        await asyncio.sleep(0)
        store.compact_revision = 20
        compactor.schedule(20)
        await compactor.finished(20)
        assert store.finished_compact_revision == 20

    asyncio.run(run())


@pytest.mark.parametrize("limit", [3, 10, 40])
def test_the_flags_say_how_many_versions_go_between_two_rests_of_which_length(
    monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    rests: list[float] = []
    sleep = asyncio.sleep

    async def record(seconds: float) -> None:
        rests.append(seconds)
        await sleep(0)

    async def run() -> None:
        store = Slices(120)
        store.compact_revision = 10
        compactor = Compactor(store, limit, 0.625, lambda failure: None)
        await compactor.finished(10)

    monkeypatch.setattr(asyncio, "sleep", record)
    asyncio.run(run())
    removed = 120 * min(limit, 10)
    assert rests.count(0.625) == removed // limit


def test_a_long_batch_lets_others_work_after_a_few_milliseconds() -> None:
    class Slow(Slices):
        def compact_slices(self, limit: int) -> Generator[int, None, None]:
            for _ in super().compact_slices(limit):
                end = time.perf_counter() + STRETCH / 2
                while time.perf_counter() < end:
                    pass
                yield 1

    turns = 0

    async def run() -> None:
        nonlocal turns
        store = Slow(40)
        store.compact_revision = 10
        finished = Compactor(store, 1000, 0, lambda failure: None).finished(10)
        while not finished.done():
            turns += 1
            await asyncio.sleep(0)

    asyncio.run(run())
    assert turns >= 15, "a turn after every second slice"


def test_a_store_that_cannot_be_written_is_reported() -> None:
    async def run() -> BaseException:
        failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        store = Full(1)
        compactor = Compactor(store, 1000, 0, failure.set_result)
        store.compact_revision = 10
        compactor.schedule(10)
        return await failure

    assert isinstance(asyncio.run(run()), OSError)
