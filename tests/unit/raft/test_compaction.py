"""Log compaction: when it happens, and how far; the state is durable before it."""

import asyncio
from pathlib import Path

import pytest

from rusd.base.worker import Worker
from rusd.raft.config import RaftConfig
from rusd.raft.log import compaction
from rusd.raft.log.compaction import Compaction
from rusd.raft.log.journal import Journal
from rusd.raft.snapshots.streams import SnapshotStreams
from tests.support.tasks import unexpected
from tests.support.toy_machine import ToyMachine


class Scene:
    """A journal of 1000 entries beside a machine that only counts its syncs."""

    def __init__(self, directory: Path) -> None:
        config = RaftConfig(
            member_id=1,
            cluster_id=1,
            peers={1: []},
            directory=directory,
            listen_peer_urls=[],
            snapshot_count=100,
            catchup_entries=30,
        )
        self.order: list[str] = []
        self.machine = ToyMachine(directory / "state")
        self.machine.sync = lambda: self.order.append("sync")  # type: ignore[method-assign]
        self.journal = Journal(directory / "wal")
        for index in range(1, 1001):
            self.journal.add(b"\x00" + bytes(99), index, 1)
        self.journal.flush()
        compact = self.journal.compact

        def noted(first: int) -> None:
            self.order.append("compact")
            compact(first)

        self.journal.compact = noted  # type: ignore[method-assign]
        worker = Worker("test")
        self.streams = SnapshotStreams(
            directory / "snapshots", self.machine, lambda member, frame: None, worker, unexpected
        )
        self.woken = 0
        self.compaction = Compaction(
            config,
            self.machine,
            self.journal,
            lambda: self.streams.lowest_index(),
            worker,
            unexpected,
            self.wake,
        )

    def wake(self) -> None:
        self.woken += 1

    def step(self, applied: int) -> None:
        """The end of a turn, and of the one that the sync asks for."""

        async def turns() -> None:
            woken = self.woken
            self.compaction.step(applied)
            await self.compaction.stop()
            if self.woken > woken:
                self.compaction.step(applied)

        asyncio.run(turns())


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_it_waits_for_enough_applied_entries(scene: Scene) -> None:
    scene.step(100)
    assert scene.order == []
    scene.step(101)
    assert scene.order == ["sync", "compact"], "the state first, then the log"
    assert scene.journal.first_index == 101 - 30


def test_it_counts_from_the_last_time(scene: Scene) -> None:
    scene.step(101)
    scene.step(200)
    assert scene.journal.first_index == 71
    scene.step(201)
    assert scene.journal.first_index == 171


def test_a_large_log_is_compacted_before_its_time(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "LOG_BYTES", 50_000)
    monkeypatch.setattr(compaction, "KEPT_BYTES", 20_000)
    scene.step(40)
    assert scene.journal.first_index == 40, "never beyond what is applied"
    scene.step(40)
    assert scene.order == ["sync", "compact"], "once"
    scene.compaction.at = 1
    scene.step(990)
    assert scene.journal.first_index == 960 and scene.journal.size < 50_000


def test_a_margin_of_many_large_entries_is_cut_by_bytes(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "LOG_BYTES", 50_000)
    monkeypatch.setattr(compaction, "KEPT_BYTES", 1_000)
    scene.step(1000)
    assert scene.journal.first_index == 991


def test_what_a_member_needs_after_its_snapshot_is_kept(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scene.streams, "lowest_index", lambda: 50)
    scene.step(500)
    assert scene.journal.first_index == 50
