"""Backups of a member that leads. One test runs the processes; the others do their work here."""

from __future__ import annotations

import asyncio
import errno
import os
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from rusd.backup import export
from rusd.backup.errors import SnapshotError
from rusd.backup.own_process import ProcessFailed
from rusd.backup.scheduled import (
    Backup,
    Backups,
    Directory,
    Names,
    Retention,
    Schedule,
    backups,
    drafts,
)
from rusd.backup.scheduled.schedule import ABANDONED
from rusd.backup.scheduled.verify import verified
from rusd.backup.snapshot_files import Growth, SnapshotFile, SnapshotFiles
from rusd.storage import Engine
from tests.unit.state.driver import Driver
from tests.unit.support_node import InstantNode, Log

NAMES = Names(0xC, 1)
START = 1_800_000_000.0


class Node(InstantNode):
    @property
    def is_leader(self) -> bool:
        return self.leader_id == self.member_id


class Stubborn(Directory):
    """A directory that fails."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.failures: list[OSError] = []

    def put(self, draft: Path, name: str) -> None:
        for error in self.failures:
            raise error
        super().put(draft, name)


class QuickFiles(SnapshotFiles):
    """Files made without a process."""

    engine: Engine

    @asynccontextmanager
    async def make(self) -> AsyncIterator[SnapshotFile]:
        with tempfile.TemporaryFile() as file:
            size = export.write(self.engine, file)
            file.flush()
            yield SnapshotFile(file, Growth(size, size))


async def quick(module: str, path: str) -> str:
    """Verify without a process."""
    try:
        found = verified(Path(path))
        return f"{found.revision} {found.applied.index}"
    except SnapshotError as error:
        raise ProcessFailed(str(error)) from None


class Scene:
    """One member with a clock that is set by hand."""

    def __init__(self, tmp_path: Path) -> None:
        self.driver = Driver(tmp_path / "state")
        machine = self.driver.machine
        self.now = START
        self.path = tmp_path / "backups"
        self.place = Stubborn(self.path)
        self.log = Log()
        self.node = Node(self.log, 1, machine)
        quick = QuickFiles(tmp_path / "exports", machine.checkpoint)
        quick.engine = machine.engine
        self.files: SnapshotFiles = quick
        self.free_needed = 0
        self.retention = Retention(2, None)

    def run(self, story: Callable[[Backups], Awaitable[None]], leads: bool = True) -> None:
        async def body() -> None:
            made = Backups(
                self.node,
                self.files,
                self.place,
                NAMES,
                Schedule(3600, self.retention),
                reserve=lambda _: self.free_needed,
                clock=lambda: self.now,
            )
            self.node.listeners = [made.on_role]
            if leads:
                self.log.elect(1)
            task = asyncio.create_task(made.run())
            try:
                await story(made)
                assert not task.done()
            finally:
                task.cancel()
                await asyncio.wait([task])
                await self.files.stop()

        asyncio.run(asyncio.wait_for(body(), 30))

    def later(self, made: Backups, seconds: float) -> None:
        """Let time pass, and the task look."""
        self.now += seconds
        made.on_role(self.log.leader_id, self.log.term, self.node.is_leader)

    def found(self) -> list[Backup]:
        parsed = (NAMES.parse(each.name) for each in self.place.entries(""))
        return sorted(each for each in parsed if each is not None)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setattr(backups.own_process, "run", quick)
    scene = Scene(tmp_path)
    yield scene
    scene.driver.machine.close()


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


def test_a_leader_makes_a_verified_backup_of_its_revision_at_once(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    scene.files = SnapshotFiles(tmp_path / "exports", scene.driver.machine.checkpoint)

    async def story(made: Backups) -> None:
        await until(lambda: made.successes)
        (backup,) = scene.found()
        assert (backup.time, backup.revision) == (START, 4)
        assert verified(scene.path / backup.name).revision == 4
        assert (made.newest, made.size) == (backup, (scene.path / backup.name).stat().st_size)
        assert made.seconds > 0
        assert [each.name for each in scene.place.entries("")] == [backup.name]
        assert (scene.path / backup.name).stat().st_mode & 0o777 == 0o600

    for number in range(3):
        scene.driver.put(b"k%d" % number, b"v")
    scene.run(story)


def test_what_comes_before_the_name_is_done_with_the_revision_and_the_index(scene: Scene) -> None:
    told: list[tuple[Backup, int, list[Backup]]] = []

    async def prepare(backup: Backup, index: int) -> None:
        told.append((backup, index, scene.found()))

    async def story(made: Backups) -> None:
        made.before_named(prepare)
        await until(lambda: made.successes)
        (backup,) = scene.found()
        assert told == [(backup, scene.driver.machine.positions()[0].index, [])]

    scene.run(story)


def test_the_next_one_follows_after_the_interval_and_the_oldest_goes(scene: Scene) -> None:
    async def story(made: Backups) -> None:
        foreign = scene.path / "mine.db"
        for number in (1, 2, 3):
            await until(lambda n=number: made.successes == n)  # type: ignore[misc]
            foreign.touch()
            scene.later(made, 3599)
            scene.later(made, 1)
        await until(lambda: made.successes == 4 and len(scene.found()) == 2)
        assert [each.time for each in scene.found()] == [START + 7200, START + 10800]
        assert foreign.exists()

    scene.run(story)


def test_a_member_that_does_not_lead_makes_none_until_it_does(scene: Scene) -> None:
    async def story(made: Backups) -> None:
        scene.later(made, 100_000)
        await made._worker.run(lambda: None)
        assert not made.successes
        assert not made.overdue()
        scene.log.elect(1)
        await until(lambda: made.successes)

    scene.run(story, leads=False)


def test_a_new_leader_goes_on_by_the_backups_of_the_one_before(scene: Scene) -> None:
    scene.place.prepare()
    earlier = NAMES.backup(int(START) - 1000, 1)
    (scene.path / earlier.name).write_bytes(b"not looked into")

    async def story(made: Backups) -> None:
        await until(lambda: made.newest == earlier)
        scene.later(made, 2599)
        await made._worker.run(lambda: None)
        assert not made.successes
        scene.later(made, 1)
        await until(lambda: made.successes)

    scene.run(story)


def test_a_full_disk_costs_the_backup_and_leaves_no_draft(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(made: Backups) -> None:
        await until(lambda: made.failures == 1)
        assert made.error == f"[Errno {errno.ENOSPC}] No space left on device"
        assert scene.place.entries("") == []
        scene.later(made, 599)
        await made._worker.run(lambda: None)
        assert made.failures == 1
        scene.later(made, 1)
        await until(lambda: made.failures == 2)
        scene.later(made, 7000)
        await until(lambda: made.failures == 3)
        assert made.overdue() == (
            "overdue for 4000s, the last one is none: [Errno 28] No space left on device"
        )
        scene.place.failures.clear()
        scene.later(made, 600)
        await until(lambda: made.successes)
        assert made.overdue() == ""
        assert made.error == ""

    scene.place.failures = [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))]
    scene.run(story)
    assert [each.fields["retry-in"] for each in caplog.records if each.levelname == "ERROR"] == [  # type: ignore[attr-defined]
        "600s"
    ] * 3


def test_failures_remove_no_backup_however_old(scene: Scene) -> None:
    scene.place.prepare()
    old = [NAMES.backup(int(START) - 10_000 * n, 1) for n in range(1, 5)]
    for each in old:
        (scene.path / each.name).touch()
    scene.retention = Retention(1, 1.0)
    scene.place.failures = [OSError(errno.EIO, "input/output error")]

    async def story(made: Backups) -> None:
        for number in (1, 2, 3):
            await until(lambda n=number: made.failures == n)  # type: ignore[misc]
            scene.later(made, 3600)
        assert scene.found() == sorted(old)

    scene.run(story)


def test_a_file_that_is_not_sound_never_gets_a_name(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "write", lambda engine, file: file.write(bytes(4096)))

    async def story(made: Backups) -> None:
        await until(lambda: made.failures)
        assert "no database" in made.error
        assert scene.place.entries("") == []

    scene.run(story)


def test_a_draft_that_would_take_the_members_reserve_is_given_up(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backups, "SYNCED", 1)
    scene.free_needed = 1 << 60

    async def story(made: Backups) -> None:
        await until(lambda: made.failures)
        assert "No space left" in made.error
        assert scene.place.entries("") == []

    scene.run(story)


def test_what_a_killed_member_left_goes_and_what_another_one_writes_stays(scene: Scene) -> None:
    scene.place.prepare()
    own, other, gone = (Names(0xC, member).partial for member in (1, 2, 3))
    foreign = Names(0xD, 3).partial
    for name in (own, other, gone, foreign):
        (scene.path / name).touch()
    os.utime(scene.path / other, (START, START))
    for name in (gone, foreign):
        os.utime(scene.path / name, (START - ABANDONED - 1,) * 2)

    async def story(made: Backups) -> None:
        await until(lambda: {each.name for each in scene.place.entries("")} == {other, foreign})

    scene.run(story, leads=False)


def test_a_member_that_is_not_the_leader_any_more_gives_its_draft_up(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.driver.put(b"k", b"v" * 100_000)
    monkeypatch.setattr(backups, "PIECE", 10)

    async def story(made: Backups) -> None:
        draft = scene.path / NAMES.partial
        await until(draft.exists)
        scene.log.elect(2)
        await until(lambda: not draft.exists())
        assert (made.successes, made.failures) == (0, 0)
        assert scene.found() == []

    scene.run(story)


def test_a_stop_in_the_middle_leaves_no_draft(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.driver.put(b"k", b"v" * 100_000)
    monkeypatch.setattr(backups, "PIECE", 10)

    async def story(made: Backups) -> None:
        await until((scene.path / NAMES.partial).exists)

    scene.run(story)
    assert scene.place.entries("") == []


def test_a_place_that_does_not_answer_delays_no_stop(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drafts, "GIVE_UP", 0.01)
    asked, answered = threading.Event(), threading.Event()

    def put(draft: Path, name: str) -> None:
        asked.set()
        answered.wait(30)

    monkeypatch.setattr(scene.place, "put", put)

    async def story(made: Backups) -> None:
        await until(asked.is_set)

    try:
        scene.run(story)
        assert not answered.is_set()
    finally:
        answered.set()


def test_damage_is_found(scene: Scene) -> None:
    async def story(made: Backups) -> None:
        await until(lambda: made.successes)

    scene.driver.put(b"k", b"v")
    scene.run(story)
    (backup,) = scene.found()
    path = scene.path / backup.name
    data = path.read_bytes()
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    for damaged in (data[:-4096], data[:-1], flipped, b""):
        path.write_bytes(damaged)
        with pytest.raises(SnapshotError):
            verified(path)


def test_a_compacted_store_without_rows_has_its_revision(scene: Scene) -> None:
    scene.driver.put(b"k", b"v")
    scene.driver.delete(b"k")
    scene.driver.compact(3)
    for _ in scene.driver.machine.store.compact_slices(100):
        pass

    async def story(made: Backups) -> None:
        await until(lambda: made.successes)
        assert [each.revision for each in scene.found()] == [3]

    scene.run(story)
