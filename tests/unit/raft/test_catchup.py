"""A whole state on its way to a member that lags, over a wire that the test holds in its hands."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from rusd.raft.ports import Entry, Position, Request
from rusd.raft.snapshots import streams, transfer
from rusd.raft.snapshots.streams import CatchUp
from rusd.raft.snapshots.transfer import Received
from rusd.raft.transport.frames import SnapshotReply
from tests.support.toy_machine import ToyMachine
from tests.unit.raft.cluster import unexpected, until

LEADER, FOLLOWER = 1, 2


class Scene:
    """A leader with a state that takes some chunks, a follower with an empty one."""

    def __init__(self, directory: Path) -> None:
        self.now = 100.0
        self.wire: list[Any] = []
        self.back: list[Any] = []
        self.source = ToyMachine(directory / "leader" / "state")
        text = b"x" * (9 * transfer.CHUNK_BYTES // 2)
        self.source.apply([Entry(Position(2, 1), [Request(text, False)])])
        self.target = ToyMachine(directory / "follower" / "state")
        self.incoming = directory / "follower" / "snapshots"
        self.leader = CatchUp(
            directory / "leader" / "snapshots",
            self.source,
            lambda _, frame: self.wire.append(frame),
            unexpected,
        )
        self.follower = CatchUp(
            self.incoming, self.target, lambda _, frame: self.back.append(frame), unexpected
        )

    async def begin(self) -> None:
        """The leader's checkpoint is made and the first window sent."""
        self.leader.begin(FOLLOWER, 2, self.now)
        await until(lambda: self.wire)

    def deliver(self) -> Received | None:
        """What is on the wire arrives, and the answers, until nothing more is sent."""
        complete = None
        while self.wire or self.back:
            frames, self.wire[:] = list(self.wire), []
            for frame in frames:
                complete = self.follower.receive(LEADER, frame) or complete
            self.answer()
        return complete

    def answer(self) -> None:
        answers, self.back[:] = list(self.back), []
        for frame in answers:
            self.leader.reply(FOLLOWER, frame, self.now)


def run(directory: Path, story: Callable[[Scene], Awaitable[None]]) -> None:
    async def tell() -> None:
        scene = Scene(directory)
        await story(scene)
        await scene.leader.stop()
        await scene.follower.stop()
        scene.source.close()
        scene.target.close()

    asyncio.run(tell())


@pytest.fixture(autouse=True)
def a_small_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "WINDOW_BYTES", 2 * transfer.CHUNK_BYTES)


def test_the_state_arrives_and_the_stream_ends(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        await scene.begin()
        assert FOLLOWER in scene.leader.members
        stream = scene.wire[0].stream
        complete = scene.deliver()
        assert complete is not None and complete.index == 2
        scene.target.restore(complete.directory)
        scene.follower.finished(LEADER, stream, installed=True)
        scene.answer()
        assert scene.target.payloads == scene.source.payloads
        assert FOLLOWER not in scene.leader.members

    run(tmp_path, story)


def test_the_log_is_kept_for_as_long_as_a_state_is_under_way(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        assert scene.leader.lowest_index() is None
        scene.leader.begin(FOLLOWER, 2, scene.now)
        scene.leader.begin(3, 9, scene.now)
        assert scene.leader.lowest_index() == 2
        scene.leader.drop(FOLLOWER)
        assert scene.leader.lowest_index() == 9

    run(tmp_path, story)


def test_a_lost_chunk_ends_the_stream_and_another_one_succeeds_later(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        await scene.begin()
        del scene.wire[1]
        assert scene.deliver() is None
        assert FOLLOWER not in scene.leader.members
        assert not (scene.incoming / "incoming").exists()
        scene.leader.begin(FOLLOWER, 2, scene.now)
        assert FOLLOWER not in scene.leader.members, "not at once: it may fail again"
        scene.now += streams.PAUSE
        await scene.begin()
        assert scene.deliver() is not None

    run(tmp_path, story)


def test_chunks_of_a_stream_that_broke_are_not_acknowledged(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        await scene.begin()
        begin, chunk, *_ = scene.wire
        scene.follower.receive(LEADER, begin)
        scene.follower.receive(LEADER, structs.replace(chunk, crc=0))
        assert scene.back[-1].received == -1
        answers = len(scene.back)
        scene.follower.receive(LEADER, chunk)
        assert len(scene.back) == answers

    run(tmp_path, story)


def test_acknowledgements_out_of_order_or_of_another_stream_open_no_window(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        await scene.begin()
        sent = len(scene.wire)
        stream = scene.wire[0].stream
        reply = SnapshotReply(stream, 0)
        another = SnapshotReply(stream + 7, 1 << 30)
        scene.leader.reply(FOLLOWER, another, scene.now)
        scene.leader.reply(FOLLOWER, reply, scene.now)
        assert len(scene.wire) == sent
        scene.leader.reply(FOLLOWER, SnapshotReply(stream, transfer.CHUNK_BYTES), scene.now)
        scene.leader.reply(FOLLOWER, reply, scene.now)
        scene.leader.reply(FOLLOWER, reply, scene.now)
        assert len(scene.wire) == sent + 1

    run(tmp_path, story)


def test_a_stream_without_acknowledgements_is_given_up(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        await scene.begin()
        scene.leader.expire(scene.now + streams.STALLED)
        assert FOLLOWER in scene.leader.members
        scene.leader.expire(scene.now + streams.STALLED + 1)
        assert FOLLOWER not in scene.leader.members
        assert list((tmp_path / "leader" / "snapshots").iterdir()) == []

    run(tmp_path, story)


def test_a_follower_that_restarts_in_the_middle_starts_over(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        await scene.begin()
        for frame in scene.wire:
            scene.follower.receive(LEADER, frame)
        assert any((scene.incoming / "incoming").iterdir())
        scene.wire.clear()
        scene.back.clear()
        scene.leader.drop(FOLLOWER)
        scene.follower = CatchUp(
            scene.incoming, scene.target, lambda _, frame: scene.back.append(frame), unexpected
        )
        assert not scene.incoming.exists()
        await scene.begin()
        assert scene.deliver() is not None

    run(tmp_path, story)


def test_a_member_that_goes_while_the_checkpoint_is_made_leaves_none_behind(
    tmp_path: Path,
) -> None:
    async def story(scene: Scene) -> None:
        scene.leader.begin(FOLLOWER, 2, scene.now)
        scene.leader.drop(FOLLOWER)
        await until(lambda: not scene.leader._tasks)
        assert scene.wire == []
        assert list((tmp_path / "leader" / "snapshots").iterdir()) == []

    run(tmp_path, story)


def test_a_full_disk_is_no_unhandled_failure_of_whoever_makes_a_checkpoint(
    tmp_path: Path,
) -> None:
    async def story(scene: Scene) -> None:
        unhandled: list[dict[str, Any]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: unhandled.append(context))
        # Not a directory, so none can be made in it: as a disk without room refuses one.
        scene.leader._directory.write_text("")
        scene.leader.begin(FOLLOWER, 2, scene.now)
        await until(lambda: not scene.leader._tasks)
        gc.collect()
        assert unhandled == []
        scene.leader._directory.unlink()

    run(tmp_path, story)
