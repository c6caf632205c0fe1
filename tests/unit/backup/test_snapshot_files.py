"""Files made from checkpoints, in a process of their own."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import psutil
import pytest

from rusd.backup import SnapshotFiles
from rusd.backup import snapshot_files as module
from rusd.backup.snapshot_files import SnapshotFailed
from rusd.bbolt import Database, check
from rusd.state.machine import StateMachine
from rusd.storage import StorageError


@pytest.fixture
def machine(tmp_path: Path) -> StateMachine:
    return StateMachine(tmp_path / "state")


async def save(files: SnapshotFiles) -> bytes:
    async with files.make() as file:
        return file.read(file.size)


def children() -> list[psutil.Process]:
    return psutil.Process().children()


def test_an_empty_state_has_every_bucket_of_etcd(machine: StateMachine, tmp_path: Path) -> None:
    files = SnapshotFiles(tmp_path / "exports", machine.checkpoint)
    database = Database(asyncio.run(save(files)))
    check(database)
    assert [name for name, _ in database.buckets()] == [
        *(b"alarm", b"auth", b"authRoles", b"authUsers", b"cluster", b"key", b"lease"),
        *(b"members", b"members_removed", b"meta"),
    ]
    files.stop()
    machine.close()


def test_nothing_stays_behind(machine: StateMachine, tmp_path: Path) -> None:
    directory = tmp_path / "exports"
    files = SnapshotFiles(directory, machine.checkpoint)

    async def scene() -> None:
        async with files.make():
            assert [path.name for path in (directory / "1").iterdir()] == ["db"]

    asyncio.run(scene())
    assert not list(directory.iterdir())
    assert not children()
    files.stop()
    machine.close()


def test_a_cancelled_file_ends_its_process_and_goes(machine: StateMachine, tmp_path: Path) -> None:
    directory = tmp_path / "exports"
    files = SnapshotFiles(directory, machine.checkpoint)

    async def scene() -> None:
        task = asyncio.create_task(save(files))
        while not children():
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scene())
    assert not children()
    assert not list(directory.iterdir())
    files.stop()
    machine.close()


def test_a_checkpoint_that_is_not_possible_yet_is_tried_again(
    machine: StateMachine, tmp_path: Path
) -> None:
    refusals = iter([True, True])

    def checkpoint(directory: Path) -> bool:
        return not next(refusals, False) and machine.checkpoint(directory)

    files = SnapshotFiles(tmp_path / "exports", checkpoint)
    check(Database(asyncio.run(save(files))))
    files.stop()
    machine.close()


def test_a_checkpoint_that_fails_is_an_error_and_the_next_one_may_work(
    machine: StateMachine, tmp_path: Path
) -> None:
    failures = iter([StorageError("no space left on device")])

    def checkpoint(directory: Path) -> bool:
        for error in failures:
            raise error
        return machine.checkpoint(directory)

    files = SnapshotFiles(tmp_path / "exports", checkpoint)
    with pytest.raises(SnapshotFailed, match="no space left"):
        asyncio.run(save(files))
    check(Database(asyncio.run(save(files))))
    files.stop()
    machine.close()


def test_a_damaged_checkpoint_is_an_error_that_says_so(
    machine: StateMachine, tmp_path: Path
) -> None:
    def checkpoint(directory: Path) -> bool:
        machine.checkpoint(directory)
        (directory / "CURRENT").write_text("MANIFEST-999999\n")
        return True

    files = SnapshotFiles(tmp_path / "exports", checkpoint)
    with pytest.raises(SnapshotFailed, match="cannot open the database"):
        asyncio.run(save(files))
    files.stop()
    machine.close()


def test_so_many_files_exist_at_once_and_the_next_waits(
    machine: StateMachine, tmp_path: Path
) -> None:
    directory = tmp_path / "exports"
    files = SnapshotFiles(directory, machine.checkpoint)

    async def scene() -> None:
        close = asyncio.Event()
        opened: list[int] = []

        async def reader(number: int) -> None:
            async with files.make():
                opened.append(number)
                assert len(list(directory.iterdir())) <= module.FILES
                await close.wait()

        readers = [asyncio.create_task(reader(number)) for number in range(module.FILES + 1)]
        while len(opened) < module.FILES:
            await asyncio.sleep(0.001)
        assert not readers[-1].done()
        assert opened == list(range(module.FILES))
        close.set()
        await asyncio.gather(*readers)

    asyncio.run(scene())
    files.stop()
    machine.close()


def test_a_file_is_private(machine: StateMachine, tmp_path: Path) -> None:
    files = SnapshotFiles(tmp_path / "exports", machine.checkpoint)

    async def scene() -> None:
        async with files.make():
            place = tmp_path / "exports" / "1"
            assert place.stat().st_mode & 0o077 == 0
            assert (place / "db").stat().st_mode & 0o077 == 0

    asyncio.run(scene())
    files.stop()
    machine.close()


def test_the_process_takes_this_package_and_nothing_of_the_current_directory(
    machine: StateMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "rusd").mkdir(parents=True)
    (elsewhere / "rusd" / "__init__.py").write_text("raise SystemExit('not this one')\n")
    (elsewhere / "json.py").write_text("raise SystemExit('not this one')\n")
    files = SnapshotFiles(tmp_path / "exports", machine.checkpoint)
    monkeypatch.chdir(elsewhere)
    check(Database(asyncio.run(save(files))))
    files.stop()
    machine.close()


def test_what_a_killed_member_left_goes_at_the_next_start(tmp_path: Path) -> None:
    directory = tmp_path / "exports"
    (directory / "7").mkdir(parents=True)
    (directory / "7" / "db").write_bytes(b"half of it")
    SnapshotFiles(directory, lambda path: True).stop()
    assert not directory.exists()
    assert os.listdir(tmp_path) == []
