"""Physical compaction in the background."""

import asyncio
from collections.abc import Generator

from rusd.upkeep.compactor import Compactor


class Slices:
    """A store with `todo` slices to remove, which counts the turns others got in between."""

    def __init__(self, todo: int) -> None:
        self.todo = todo
        self.compact_revision = 0
        self.finished_compact_revision = 0

    def compact_slices(self) -> Generator[None, None, None]:
        target = self.compact_revision
        for _ in range(self.todo):
            yield
        self.finished_compact_revision = target


class Full(Slices):
    def compact_slices(self) -> Generator[None, None, None]:
        yield
        raise OSError("no space left on device")


def test_a_waiter_is_told_when_its_revision_is_gone() -> None:
    async def run() -> None:
        store = Slices(5)
        compactor = Compactor(store, 0, lambda failure: None)
        store.compact_revision = 10
        compactor.schedule(10)
        await compactor.finished(10)
        assert store.finished_compact_revision == 10

    asyncio.run(run())


def test_a_compaction_applied_meanwhile_is_carried_out_too() -> None:
    async def run() -> None:
        store = Slices(3)
        compactor = Compactor(store, 0, lambda failure: None)
        store.compact_revision = 10
        compactor.schedule(10)
        await asyncio.sleep(0)
        store.compact_revision = 20
        compactor.schedule(20)
        await compactor.finished(20)
        assert store.finished_compact_revision == 20

    asyncio.run(run())


def test_a_store_that_cannot_be_written_is_reported() -> None:
    async def run() -> BaseException:
        failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        store = Full(1)
        compactor = Compactor(store, 0, failure.set_result)
        store.compact_revision = 10
        compactor.schedule(10)
        return await failure

    assert isinstance(asyncio.run(run()), OSError)
