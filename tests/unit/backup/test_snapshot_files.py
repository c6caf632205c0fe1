"""Files made from checkpoints, in a process of their own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from rusd.backup import snapshot_files as module
from rusd.backup.snapshot_files import SnapshotFailed, SnapshotFiles
from rusd.bbolt import Database, check
from rusd.state.machine import StateMachine
from rusd.storage import StorageError
from rusd.wire.keyvalue import key_of
from tests.unit.state.driver import Driver
from tests.unit.state.test_machine import install


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[StateMachine]:
    machine = StateMachine(tmp_path / "state")
    yield machine
    machine.close()


async def save(files: SnapshotFiles) -> bytes:
    async with files.make() as file:
        await file.grown(file.size)
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
    asyncio.run(files.stop())


def test_nothing_stays_behind(machine: StateMachine, tmp_path: Path) -> None:
    directory = tmp_path / "exports"
    files = SnapshotFiles(directory, machine.checkpoint)

    async def scene() -> None:
        async with files.make() as file:
            await file.grown(file.size)
            # Not even its name: a killed member leaves nothing.
            while list(directory.iterdir()):
                await asyncio.sleep(0.001)

    asyncio.run(scene())
    assert not list(directory.iterdir())
    assert not children()
    asyncio.run(files.stop())


def test_a_cancelled_file_ends_its_process_and_goes(machine: StateMachine, tmp_path: Path) -> None:
    directory = tmp_path / "exports"
    files = SnapshotFiles(directory, machine.checkpoint)

    async def scene() -> None:
        task = asyncio.create_task(save(files))
        while not list(directory.glob("*/state")):
            await asyncio.sleep(0.001)
        assert children()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scene())
    assert not children()
    assert not list(directory.iterdir())
    asyncio.run(files.stop())


def test_a_received_state_does_not_change_a_file_in_the_making(tmp_path: Path) -> None:
    ours, theirs = Driver(tmp_path / "ours"), Driver(tmp_path / "theirs")
    ours.put(b"ours")
    theirs.put(b"theirs")
    files = SnapshotFiles(tmp_path / "exports", ours.machine.checkpoint)

    async def scene() -> bytes:
        saving = asyncio.create_task(save(files))
        while not list((tmp_path / "exports").glob("*/state/CURRENT")):
            await asyncio.sleep(0.001)
        (writer,) = children()
        writer.suspend()
        install(theirs, ours, tmp_path / "received")
        assert not saving.done()
        writer.resume()
        return await saving

    database = Database(asyncio.run(scene()))
    check(database)
    keys = database.bucket(b"key")
    assert keys is not None
    assert [key_of(item.value) for item in keys.items()] == [b"ours"]
    asyncio.run(files.stop())
    ours.machine.close()
    theirs.machine.close()


def test_a_checkpoint_that_is_not_possible_yet_is_tried_again(
    machine: StateMachine, tmp_path: Path
) -> None:
    refusals = iter([True, True])

    def checkpoint(directory: Path) -> bool:
        return not next(refusals, False) and machine.checkpoint(directory)

    files = SnapshotFiles(tmp_path / "exports", checkpoint)
    check(Database(asyncio.run(save(files))))
    asyncio.run(files.stop())


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
    asyncio.run(files.stop())


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
    asyncio.run(files.stop())


def test_a_file_is_read_while_it_grows_and_its_failure_is_told(tmp_path: Path) -> None:
    driver = Driver(tmp_path / "state")
    for number in range(100):
        driver.put(b"%03d" % number, os.urandom(64 << 10))

    def checkpoint(directory: Path) -> bool:
        """One whose largest table, that of the history or of the live keys, is damaged."""
        driver.machine.checkpoint(directory)
        for table in directory.glob("*.sst"):
            content = bytearray(table.read_bytes())
            if len(content) > 6 << 20:
                table.unlink()  # (It is a link to the member's.)
                content[3 << 20 : (3 << 20) + 64] = bytes(64)
                table.write_bytes(content)
        return True

    files = SnapshotFiles(tmp_path / "exports", checkpoint)

    async def scene() -> None:
        async with files.make() as file:
            assert file.size > 6 << 20
            await file.grown(2 << 20)
            assert len(file.read(2 << 20)) == 2 << 20
            with pytest.raises(SnapshotFailed, match="cannot read"):
                await file.grown(2 << 20)
            with pytest.raises(SnapshotFailed, match="cannot read"):
                await file.grown(2 << 20)
        assert not list((tmp_path / "exports").iterdir())

    asyncio.run(scene())
    asyncio.run(files.stop())
    driver.machine.close()


def test_so_many_files_exist_at_once_and_all_further_calls_share_the_next(
    machine: StateMachine, tmp_path: Path
) -> None:
    checkpoints: list[Path] = []

    def checkpoint(directory: Path) -> bool:
        checkpoints.append(directory)
        return machine.checkpoint(directory)

    files = SnapshotFiles(tmp_path / "exports", checkpoint)

    async def scene() -> None:
        close = asyncio.Event()
        opened: list[int] = []
        read: list[bytes] = []

        async def reader(number: int) -> None:
            async with files.make() as file:
                opened.append(number)
                await close.wait()
                await file.grown(file.size)
                read.append(file.read(file.size))

        first: list[asyncio.Task[None]] = []
        for number in range(module.FILES):
            assert not files.crowded
            first.append(asyncio.create_task(reader(number)))
            while len(opened) <= number:
                await asyncio.sleep(0.001)
        assert not files.crowded
        late = [asyncio.create_task(reader(number)) for number in range(10, 30)]
        while not files.crowded:
            await asyncio.sleep(0.001)
        assert len(checkpoints) == module.FILES
        late.pop().cancel()
        close.set()
        await asyncio.gather(*first, *late)
        assert len(checkpoints) == module.FILES + 1
        assert len(opened) == module.FILES + 19
        assert len({*read}) == 1

    asyncio.run(scene())
    asyncio.run(files.stop())


def test_a_call_does_not_share_a_file_whose_checkpoint_was_begun(
    machine: StateMachine, tmp_path: Path
) -> None:
    """It would miss what was applied since."""
    begun, go_on = threading.Event(), threading.Event()

    def checkpoint(directory: Path) -> bool:
        begun.set()
        return go_on.wait(10) and machine.checkpoint(directory)

    files = SnapshotFiles(tmp_path / "exports", checkpoint)

    async def scene() -> None:
        first = asyncio.create_task(save(files))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        writer = machine.store.begin()
        txn = writer.txn()
        txn.put(b"later", b"", 0)
        txn.end()
        writer.commit()
        second = asyncio.create_task(save(files))
        await asyncio.sleep(0)
        go_on.set()
        await first
        keys = Database(await second).bucket(b"key")
        assert keys is not None
        assert any(b"later" in item.value for item in keys.items())

    asyncio.run(scene())
    asyncio.run(files.stop())


def test_a_file_leaves_the_reserve_of_the_disk(machine: StateMachine, tmp_path: Path) -> None:
    directory = tmp_path / "exports"
    files = SnapshotFiles(directory, machine.checkpoint, reserve=1 << 60)
    with pytest.raises(SnapshotFailed, match="No space left on device"):
        asyncio.run(save(files))
    assert not list(directory.iterdir())
    asyncio.run(files.stop())


def test_the_writing_process_leaves_the_reserve_too(machine: StateMachine, tmp_path: Path) -> None:
    """The disk may fill up after the checkpoint."""
    assert machine.checkpoint(tmp_path / "copy")
    arguments = ("-m", "rusd.backup", tmp_path / "copy", tmp_path / "db", str(1 << 60))
    with subprocess.Popen(
        (sys.executable, *arguments), stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert b"No space left on device" in process.stderr.read()
    assert process.returncode == 1


def test_stop_ends_the_process_and_removes_what_there_is(
    machine: StateMachine, tmp_path: Path
) -> None:
    directory = tmp_path / "exports"
    files = SnapshotFiles(directory, machine.checkpoint)

    async def scene() -> None:
        reader = files.make()
        opened = await reader.__aenter__()
        writing = asyncio.create_task(save(files))
        while not children():
            await asyncio.sleep(0.001)
        await files.stop()
        assert not children()
        assert not list(directory.iterdir())
        with pytest.raises(SnapshotFailed, match="stopping"):
            await writing
        with pytest.raises(SnapshotFailed, match="stopping"):
            opened.read(1)
        with pytest.raises(SnapshotFailed, match="stopping"):
            await save(files)
        await reader.__aexit__(None, None, None)

    asyncio.run(scene())


def test_a_file_is_private(machine: StateMachine, tmp_path: Path) -> None:
    directory = tmp_path / "exports"
    files = SnapshotFiles(directory, machine.checkpoint)

    async def scene() -> None:
        task = asyncio.create_task(save(files))
        place = directory / "1"
        modes: set[int] = set()
        while not task.done():
            for path in (place, place / "db"):
                with suppress(OSError):
                    modes.add(path.stat().st_mode & 0o777)
            await asyncio.sleep(0.001)
        assert modes == {0o700, 0o600}

    asyncio.run(scene())
    asyncio.run(files.stop())


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
    asyncio.run(files.stop())


def test_what_a_killed_member_left_goes_at_the_next_start(tmp_path: Path) -> None:
    directory = tmp_path / "exports"
    (directory / "7").mkdir(parents=True)
    (directory / "7" / "db").write_bytes(b"half of it")
    asyncio.run(SnapshotFiles(directory, lambda path: True).stop())
    assert not directory.exists()
    assert os.listdir(tmp_path) == []
