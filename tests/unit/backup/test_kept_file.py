"""A large file is kept, and the next one is made of it."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rusd.backup import snapshot_files as module
from rusd.backup.snapshot_files import SnapshotFailed, SnapshotFiles
from tests.support.snapshots import content
from tests.unit.backup.test_any_store import file_of
from tests.unit.backup.test_snapshot_files import children, save
from tests.unit.state.driver import Driver
from tests.unit.state.test_machine import install

VALUE = 64 << 10


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    driver = Driver(tmp_path / "state")
    for number in range(40):
        driver.put(b"%d" % number, os.urandom(VALUE))
    yield driver
    driver.machine.close()


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "LARGE", 1 << 20)
    return tmp_path / "exports"


def there(directory: Path) -> list[str]:
    return os.listdir(directory)


def kept(directory: Path) -> os.stat_result:
    """The only thing that there is."""
    assert there(directory) == ["kept"]
    return (directory / "kept").stat()


async def gone(directory: Path) -> None:
    async with asyncio.timeout(10):
        while there(directory):
            await asyncio.sleep(0.001)


def test_the_next_file_is_made_of_it(driver: Driver, directory: Path) -> None:
    files = SnapshotFiles(directory, driver.machine.checkpoint)

    async def scene() -> None:
        first = await save(files)
        before = kept(directory)
        assert before.st_size == len(first)
        assert before.st_mode & 0o777 == 0o600
        for number in range(5):
            driver.put(b"new", b"%d" % number)
            assert content(await save(files)) == content(file_of(driver))
            assert kept(directory).st_ino == before.st_ino
        # The leaves of the first, in their places.
        assert (directory / "kept").read_bytes()[2 * 4096 :].startswith(first[2 * 4096 : 1 << 20])
        assert not children()

    asyncio.run(scene())
    asyncio.run(files.stop())


def test_a_small_file_is_not_kept(
    driver: Driver, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LARGE", 16 << 20)
    files = SnapshotFiles(directory, driver.machine.checkpoint)

    async def scene() -> None:
        await save(files)
        assert not there(directory)

    asyncio.run(scene())
    asyncio.run(files.stop())


def test_one_that_is_being_read_is_left_alone(driver: Driver, directory: Path) -> None:
    files = SnapshotFiles(directory, driver.machine.checkpoint)

    async def scene() -> None:
        async with files.make() as slow:
            await slow.grown(slow.size)
            begin = slow.read(1 << 20)
            driver.put(b"later", b"value")
            then = content(file_of(driver))
            assert content(await save(files)) == then
            driver.put(b"last", b"value")
            assert content(await save(files)) == content(file_of(driver)) != then
            # The one before those.
            found = content(begin + slow.read(slow.size))
            assert len(found[b"key"]) == 40
        assert kept(directory)

    asyncio.run(scene())
    asyncio.run(files.stop())


def test_it_goes_in_time(driver: Driver, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 0.3)
    monkeypatch.setattr(module, "LOOK", 0.01)
    files = SnapshotFiles(directory, driver.machine.checkpoint)

    async def scene() -> None:
        await save(files)
        await gone(directory)
        assert content(await save(files)) == content(file_of(driver))

    asyncio.run(scene())
    asyncio.run(files.stop())


def test_what_is_made_of_it_goes_when_it_would_have_gone(
    driver: Driver, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT", 5.0)
    monkeypatch.setattr(module, "LOOK", 0.01)
    files = SnapshotFiles(directory, driver.machine.checkpoint)

    async def scene() -> None:
        size = len(await save(files))
        monkeypatch.setattr(module, "KEPT", 3600.0)
        # (One that is made of another is larger.)
        assert kept(directory).st_size == size < len(await save(files))
        await gone(directory)
        assert len(await save(files)) == size
        assert kept(directory)

    asyncio.run(scene())
    asyncio.run(files.stop())


def test_it_goes_if_the_disk_does_not_say_what_is_free(
    driver: Driver, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK", 0.01)
    files = SnapshotFiles(directory, driver.machine.checkpoint)

    def fail(path: Path) -> int:
        raise OSError("input/output error")

    async def scene() -> None:
        await save(files)
        assert kept(directory)
        monkeypatch.setattr(module, "free", fail)
        await gone(directory)

    asyncio.run(scene())
    asyncio.run(files.stop())


@pytest.mark.parametrize(
    ("reserve", "left"),
    [
        # Less than the file has.
        (0, lambda size: size - 1),
        # Not twice the reserve.
        (10 << 20, lambda size: (20 << 20) - 1),
    ],
)
def test_it_goes_when_the_disk_fills_up(
    driver: Driver,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    reserve: int,
    left: Callable[[int], int],
) -> None:
    monkeypatch.setattr(module, "LOOK", 0.01)
    free, asked = 1 << 40, 0

    def look(path: Path) -> int:
        nonlocal asked
        asked += 1
        return free

    monkeypatch.setattr(module, "free", look)
    files = SnapshotFiles(directory, driver.machine.checkpoint, reserve=reserve)

    async def scene() -> None:
        nonlocal free
        size = len(await save(files))
        free = max(size, 2 * reserve)
        seen = asked
        async with asyncio.timeout(10):
            while asked < seen + 5:
                await asyncio.sleep(0.001)
        assert kept(directory).st_size == size
        free = left(size)
        await gone(directory)

    asyncio.run(scene())
    asyncio.run(files.stop())


def test_what_an_update_that_failed_left_is_of_no_use(driver: Driver, directory: Path) -> None:
    fail = False

    def checkpoint(state: Path) -> bool:
        made = driver.machine.checkpoint(state)
        if fail:
            (state / "CURRENT").write_text("MANIFEST-999999\n")
        return made

    files = SnapshotFiles(directory, checkpoint)

    async def scene() -> None:
        nonlocal fail
        await save(files)
        before = kept(directory)
        fail = True
        with pytest.raises(SnapshotFailed, match="cannot open the database"):
            await save(files)
        assert not there(directory)
        fail = False
        assert content(await save(files)) == content(file_of(driver))
        assert kept(directory).st_ctime_ns > before.st_ctime_ns

    asyncio.run(scene())
    asyncio.run(files.stop())


def test_a_reader_that_leaves_early_ends_it(driver: Driver, directory: Path) -> None:
    files = SnapshotFiles(directory, driver.machine.checkpoint)

    async def scene() -> None:
        await save(files)
        task = asyncio.create_task(save(files))
        while not children():
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not children()
        assert not there(directory)
        assert content(await save(files)) == content(file_of(driver))

    asyncio.run(scene())
    asyncio.run(files.stop())


def test_it_goes_with_the_member(driver: Driver, directory: Path) -> None:
    files = SnapshotFiles(directory, driver.machine.checkpoint)

    async def scene() -> None:
        await save(files)
        assert kept(directory)
        await files.stop()
        assert not there(directory)

    asyncio.run(scene())


@contextmanager
def busy(files: SnapshotFiles) -> Iterator[None]:
    """The thread does nothing within the block, and a little longer."""
    go_on = threading.Event()
    files.worker.run(go_on.wait)
    try:
        yield
    finally:
        asyncio.get_running_loop().call_later(0.05, go_on.set)


def test_a_reader_that_leaves_while_it_is_put_away_leaves_nothing_else(
    driver: Driver, directory: Path
) -> None:
    files = SnapshotFiles(directory, driver.machine.checkpoint)

    async def scene() -> None:
        async with files.make() as file:
            await file.grown(file.size)
            with busy(files):
                while children():
                    await asyncio.sleep(0.001)
                for _ in range(10):
                    await asyncio.sleep(0)
        await files.worker.run(lambda: None)
        assert kept(directory)
        assert content(await save(files)) == content(file_of(driver))

    asyncio.run(scene())
    asyncio.run(files.stop())


def test_a_reader_that_leaves_while_it_is_taken_leaves_nothing(
    driver: Driver, directory: Path
) -> None:
    files = SnapshotFiles(directory, driver.machine.checkpoint)

    async def scene() -> None:
        await save(files)
        with busy(files):
            task = asyncio.create_task(save(files))
            for _ in range(10):
                await asyncio.sleep(0)
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await files.stop()
        assert not there(directory)

    asyncio.run(scene())


@pytest.mark.parametrize("made", [True, False])
def test_nothing_is_made_of_the_file_of_a_state_that_was_replaced(
    driver: Driver, directory: Path, tmp_path: Path, *, made: bool
) -> None:
    """Its rows may differ where they have the same keys: by damage that the new state repairs."""
    other = Driver(tmp_path / "other")
    for number in range(40):
        other.put(b"%d" % number, os.urandom(VALUE))

    def checkpoint(state: Path) -> bool:
        if not made:
            asyncio.run_coroutine_threadsafe(replace(), loop).result()
        return driver.machine.checkpoint(state)

    async def replace() -> None:
        nonlocal made
        made = True
        install(other, driver, tmp_path / "received")
        files.replaced()

    files = SnapshotFiles(directory, checkpoint)
    loop: asyncio.AbstractEventLoop

    async def scene() -> None:
        nonlocal loop, made
        loop = asyncio.get_running_loop()
        during, made = not made, True
        await save(files)
        if during:
            made = False
        else:
            await replace()
            await gone(directory)
        for _ in range(3):
            assert content(await save(files)) == content(file_of(driver)) == content(file_of(other))

    asyncio.run(scene())
    asyncio.run(files.stop())
    other.machine.close()
