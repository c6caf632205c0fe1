"""The archive of a member that leads, on a log that the test writes."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from rusd.backup.archive import Archiver, SegmentNames, archiver
from rusd.backup.archive.names import Segment
from rusd.backup.archive.segment import entries
from rusd.backup.scheduled import Backup, Directory, Names, Place, drafts
from rusd.backup.scheduled.bucket import Bucket
from rusd.base.pending import Pending
from rusd.raft.commands import NO_OP, encode_entry
from rusd.raft.ports import LogEntry
from tests.support.s3 import s3_store

CLUSTER = 0xC
BACKUPS = Names(CLUSTER, 1)
NAMES = SegmentNames(CLUSTER, 1)
INTERVAL = 10.0


class Node:
    """A log in memory."""

    member_id = 1
    is_learner = False

    def __init__(self) -> None:
        self.leader_id = 1
        self.entries: list[LogEntry] = []
        self.sequence = 0

    @property
    def is_leader(self) -> bool:
        return self.leader_id == self.member_id

    def write(self, count: int = 1, term: int = 1) -> None:
        for _ in range(count):
            self.sequence += 1
            self._add(encode_entry([(1, self.sequence, b"payload")]), term)

    def no_op(self) -> None:
        self._add(NO_OP, 1)

    def _add(self, command: bytes, term: int) -> None:
        index = self.entries[-1][1] + 1 if self.entries else 4
        self.entries.append((command, index, term))

    def drop(self, count: int) -> None:
        del self.entries[:count]

    def read_index(self) -> Pending[None]:
        answer: Pending[None] = Pending()
        answer.set_result(None)
        return answer

    def committed(self, after: int, most: int, size: int) -> Sequence[LogEntry] | None:
        if not self.entries or after >= self.entries[-1][1]:
            return ()
        found = [each for each in self.entries if each[1] > after][:most]
        return found if found[0][1] == after + 1 else None


class Full(Directory):
    """A directory whose disk may be full."""

    full = False

    def put(self, draft: Path, name: str) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().put(draft, name)


class Scene:
    """One member with a clock that is set by hand."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.node = Node()
        self.disk = Full(path)
        self.place: Place = self.disk
        self.now = 1000.0
        self.demands = 0
        self.running: Archiver

    def run(self, story: Callable[[Archiver], Awaitable[None]]) -> None:
        async def body() -> None:
            made = Archiver(
                *(self.node, self.place, BACKUPS, NAMES, INTERVAL, self._demand),
                clock=lambda: self.now,
            )
            self.running = made
            task = asyncio.create_task(made.run())
            try:
                await story(made)
                assert not task.done()
            finally:
                task.cancel()
                await asyncio.wait([task])

        asyncio.run(asyncio.wait_for(body(), 30))

    def _demand(self) -> None:
        self.demands += 1

    def back_up(self, revision: int, index: int) -> Backup:
        """A backup of the entries up to an index, made just now."""
        backup = BACKUPS.backup(1_800_000_000 + revision, revision)
        self.place.prepare()
        (self.path / backup.name).touch()
        self.running.backed_up(backup, index)
        return backup

    def later(self, seconds: float) -> None:
        self.now += seconds
        self.running._changed.set()

    def found(self) -> list[Segment]:
        parsed = (NAMES.parse(each.name) for each in self.place.entries(BACKUPS.prefix))
        return sorted((each for each in parsed if each is not None), key=lambda each: each.first)

    def spans(self) -> list[tuple[int, int]]:
        """Of all but the first segment of each backup, which holds what that contains."""
        return [(each.first, each.last) for each in self.found() if each.last > each.base]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path / "place")


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.002)


def test_entries_behind_a_backup_are_written_once_the_interval_has_passed(scene: Scene) -> None:
    async def story(made: Archiver) -> None:
        await until(lambda: scene.demands)
        scene.node.write(3)
        backup = scene.back_up(5, 4)
        await until(lambda: made.last == 4)
        scene.later(INTERVAL - 1)
        await made._worker.run(lambda: None)
        assert scene.spans() == []
        scene.node.no_op()
        scene.later(1)
        await until(lambda: made.last == 6)
        first, segment = scene.found()
        assert (first.backup, first.base, first.first, first.last) == (backup.name, 4, 4, 4)
        assert (segment.backup, segment.base, segment.first, segment.last) == (backup.name, 4, 5, 6)
        data = memoryview((scene.path / segment.name).read_bytes())
        assert list(entries(data, backup.name)) == scene.node.entries[1:3]
        assert (scene.path / segment.name).stat().st_mode & 0o777 == 0o600
        whole = sum((scene.path / each.name).stat().st_size for each in (first, segment))
        assert (made.segments, made.size, made.overdue()) == (2, whole, "")
        assert not list(scene.path.glob("*.partial"))

    scene.run(story)


def test_many_entries_are_written_before_the_interval_in_parts(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archiver, "EARLY_ENTRIES", 4)
    monkeypatch.setattr(archiver, "ENTRIES", 6)

    async def story(made: Archiver) -> None:
        await until(lambda: scene.demands)
        scene.node.write(16)
        scene.back_up(5, 4)
        await until(lambda: made.last == 16)
        assert scene.spans() == [(5, 10), (11, 16)]
        scene.later(INTERVAL)
        await until(lambda: made.last == 19)

    scene.run(story)


async def archive_a_backup(scene: Scene, made: Archiver) -> None:
    """Make a backup of entry 4, and archive the five behind it."""
    scene.node.write(6)
    scene.back_up(5, 4)
    await until(lambda: made.last == 4)
    scene.later(INTERVAL)
    await until(lambda: made.last == 9)


def test_the_next_leader_continues_only_the_log_that_was_archived(scene: Scene) -> None:
    async def first(made: Archiver) -> None:
        await archive_a_backup(scene, made)

    async def second(made: Archiver) -> None:
        scene.node.write(2, term=2)
        scene.later(INTERVAL)
        await until(lambda: made.last >= 9)
        scene.later(INTERVAL)
        await until(lambda: made.last == 11)
        assert scene.spans() == [(5, 9), (10, 11)]

    async def other(made: Archiver) -> None:
        await until(lambda: scene.demands)
        assert made.last == 0
        scene.later(3 * INTERVAL)
        assert made.overdue() == "the last 30s are not archived: a new backup is needed first"

    scene.run(first)
    scene.demands = 0
    scene.run(second)
    assert not scene.demands
    # (The same indexes and terms, as a restored cluster has them, but other requests.)
    scene.node.entries.clear()
    scene.node.write(20)
    scene.run(other)


def test_a_leader_that_is_killed_just_after_a_backup_leaves_no_gap_behind_it(
    scene: Scene,
) -> None:
    async def first(made: Archiver) -> None:
        await archive_a_backup(scene, made)
        # (An election is the last that the new backup contains.)
        scene.node.no_op()
        scene.back_up(11, 10)
        await until(lambda: made.last == 10)

    async def second(made: Archiver) -> None:
        scene.node.write(2, term=2)
        scene.later(INTERVAL)
        await until(lambda: made.last >= 10)
        scene.later(INTERVAL)
        await until(lambda: made.last == 12)
        assert [(each.base, each.first, each.last) for each in scene.found()[1:]] == [
            (4, 5, 9),
            (10, 9, 9),
            (10, 11, 12),
        ]

    async def third(made: Archiver) -> None:
        await until(lambda: scene.demands)
        assert made.last == 0

    scene.run(first)
    scene.demands = 0
    scene.run(second)
    assert not scene.demands
    # Nothing speaks for a backup of which there is no segment.
    (scene.path / BACKUPS.backup(1_800_000_500, 500).name).touch()
    scene.run(third)


def test_the_first_segment_is_written_before_the_backup_has_its_name_and_waits_for_it(
    scene: Scene,
) -> None:
    async def story(made: Archiver) -> None:
        await until(lambda: scene.demands)
        scene.node.write(6)
        scene.back_up(5, 4)
        await until(lambda: made.last == 4)
        coming = BACKUPS.backup(1_800_000_009, 9)
        scene.disk.full = True
        await made.precede(coming, 8)
        assert (made.failures, len(scene.found())) == (1, 1)
        scene.disk.full = False
        await made.precede(coming, 8)
        assert [each.backup for each in scene.found()][1:] == [coming.name]
        # (A look removes segments of backups that are gone.)
        scene.later(archiver.LOOK_AT_PLACE)
        await until(lambda: made.last == 9)
        assert scene.found()[-1].backup == coming.name
        written = made.segments
        assert scene.back_up(9, 8) == coming
        await until(lambda: made.last == 8)
        assert made.segments == written

    scene.run(story)


def test_entries_that_the_log_dropped_ask_for_a_backup_and_are_no_silent_gap(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(made: Archiver) -> None:
        await until(lambda: scene.demands)
        scene.demands = 0
        scene.node.write(3)
        scene.back_up(5, 4)
        await until(lambda: made.last == 4)
        scene.node.write(3)
        scene.node.drop(4)
        scene.later(INTERVAL)
        await until(lambda: scene.demands)
        assert made.last == 0
        assert scene.spans() == []
        backup = scene.back_up(9, 8)
        scene.node.write()
        await until(lambda: made.last)
        scene.later(INTERVAL)
        await until(lambda: made.last == 10)
        assert scene.spans() == [(9, 10)]
        assert scene.found()[-1].backup == backup.name

    scene.run(story)
    assert [r for r in caplog.records if r.message == "the archive needs a new backup"]


def test_the_chain_before_reaches_up_to_the_new_backup_and_goes_with_its_own(scene: Scene) -> None:
    async def story(made: Archiver) -> None:
        scene.node.write(3)
        first = scene.back_up(5, 4)
        await until(lambda: made.last == 4)
        scene.node.write(3)
        second = scene.back_up(9, 8)
        await until(lambda: made.last == 8)
        assert scene.spans() == [(5, 9)]
        (scene.path / first.name).unlink()
        scene.later(archiver.LOOK_AT_PLACE)
        await until(lambda: {each.backup for each in scene.found()} == {second.name})

        def removed() -> bool:
            # Moved on at each look: the archiver may have set its next time after the first.
            scene.later(INTERVAL)
            return scene.spans() == [(9, 9)]

        await until(removed)

    scene.run(story)


@pytest.mark.parametrize("what", ["*.db", "*.log"])
def test_a_file_of_the_chain_that_is_removed_asks_for_a_backup(scene: Scene, what: str) -> None:
    async def story(made: Archiver) -> None:
        await until(lambda: scene.demands)
        scene.node.write(3)
        scene.back_up(5, 4)
        await until(lambda: made.last == 4)
        scene.later(INTERVAL)
        await until(lambda: made.last == 6)
        scene.demands = 0
        for path in scene.path.glob(what):
            path.unlink()
        scene.later(archiver.LOOK_AT_PLACE)
        await until(lambda: scene.demands)

    scene.run(story)


def test_a_place_that_does_not_answer_delays_no_stop(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drafts, "GIVE_UP", 0.01)
    asked, answered = threading.Event(), threading.Event()

    def put(draft: Path, name: str) -> None:
        asked.set()
        answered.wait(30)

    monkeypatch.setattr(scene.disk, "put", put)

    async def story(made: Archiver) -> None:
        await until(lambda: scene.demands)
        scene.node.write(3)
        scene.back_up(5, 4)
        await until(asked.is_set)

    try:
        scene.run(story)
        assert not answered.is_set()
    finally:
        answered.set()


def test_a_full_disk_is_reported_and_tried_again(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(made: Archiver) -> None:
        scene.node.write(3)
        scene.back_up(5, 4)
        await until(lambda: made.last == 4)
        scene.disk.full = True
        scene.later(INTERVAL)
        await until(lambda: made.failures)
        scene.later(INTERVAL + 1)
        await until(lambda: made.failures == 2)
        assert "No space left on device" in made.overdue()
        assert made.behind == 2 * INTERVAL + 1
        assert not list(scene.path.glob("*.partial"))
        scene.disk.full = False
        scene.later(INTERVAL)
        await until(lambda: made.last == 6)
        assert (made.overdue(), made.error) == ("", "")

    scene.run(story)
    assert [r for r in caplog.records if r.message == "failed to archive entries"]


def test_segments_go_to_a_bucket(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3_store("backups") as settings:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        bucket = Bucket("backups", "mine/", tmp_path / "drafts")
        scene.place = bucket

        async def story(made: Archiver) -> None:
            scene.node.write(3)
            (tmp_path / "backup").touch()
            backup = BACKUPS.backup(1_800_000_000, 5)
            bucket.put(tmp_path / "backup", backup.name)
            made.backed_up(backup, 4)
            await until(lambda: made.last == 4)
            scene.later(INTERVAL)
            await until(lambda: made.last == 6)
            assert scene.spans() == [(5, 6)]
            assert not list(bucket.drafts.iterdir())

        scene.run(story)


def test_what_a_killed_member_left_goes_at_its_next_start(scene: Scene) -> None:
    scene.place.prepare()
    (scene.path / NAMES.partial).write_bytes(b"half")

    async def story(made: Archiver) -> None:
        await until(lambda: not (scene.path / NAMES.partial).exists())

    scene.run(story)


def test_a_member_that_does_not_lead_archives_nothing(scene: Scene) -> None:
    scene.node.leader_id = 2
    scene.node.write(3)

    async def story(made: Archiver) -> None:
        scene.later(10 * INTERVAL)
        await made._worker.run(lambda: None)
        assert not scene.demands
        assert not made.overdue()
        scene.node.leader_id = 1
        made.on_role(1, 2, True)
        await until(lambda: scene.demands)

    scene.run(story)
