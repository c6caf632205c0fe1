"""A whole state on its way to a member that lags, over a wire that the test holds in its hands."""

import asyncio
import errno
import gc
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from rusd.base.worker import Worker
from rusd.raft.ports import Entry, Position, Request
from rusd.raft.snapshots import incoming, streams, transfer
from rusd.raft.snapshots.incoming import IncomingSnapshot
from rusd.raft.snapshots.streams import SnapshotStreams
from rusd.raft.snapshots.transfer import Received
from rusd.raft.transport.frames import SnapshotReply
from tests.support.tasks import unexpected
from tests.support.toy_machine import ToyMachine
from tests.unit.raft.cluster import until

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
        self.incoming = directory / "follower" / "incoming"
        self.worker = Worker("test")
        self.leader = SnapshotStreams(
            directory / "leader" / "snapshots",
            self.source,
            lambda _, frame: self.wire.append(frame),
            self.worker,
            unexpected,
        )
        self.installed: list[Received] = []
        #: Ends of whole streams: whether they were installed.
        self.ends: list[bool] = []
        self.follower = self.restarted()

    def restarted(self) -> IncomingSnapshot:
        return IncomingSnapshot(
            self.incoming,
            lambda _, frame: self.back.append(frame),
            self.worker,
            unexpected,
            self.install,
            lambda _, installed: self.ends.append(installed),
        )

    async def install(self, snapshot: Received) -> bool:
        self.installed.append(snapshot)
        self.target.restore(snapshot.directory)
        return True

    async def begin(self) -> None:
        """The leader's checkpoint is made and the first window sent."""
        self.leader.begin(FOLLOWER, 2, self.now)
        await self.window()

    async def window(self) -> None:
        """The leader has sent what it may."""
        stream = self.leader._streams[FOLLOWER]
        await until(lambda: stream.sender is not None and self.wire)
        while frames := len(self.wire):
            await self.worker.run(lambda: None)
            await asyncio.sleep(0)
            await self.worker.run(lambda: None)
            if len(self.wire) == frames:
                return

    async def deliver(self) -> None:
        """Deliver frames and their answers until the stream has ended."""
        async with asyncio.timeout(20):
            while FOLLOWER in self.leader.members or self.follower._tasks:
                frames, self.wire[:] = list(self.wire), []
                for frame in frames:
                    self.follower.receive(LEADER, frame)
                self.answer()
                await asyncio.sleep(0.001)

    async def written(self) -> None:
        """The follower has worked off what it received."""
        await until(lambda: not self.follower._tasks)

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
        scene.worker.stop()
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
        await scene.deliver()
        assert [snapshot.index for snapshot in scene.installed] == [2]
        assert scene.ends == [True]
        assert scene.target.payloads == scene.source.payloads
        await until(lambda: not list((tmp_path / "leader" / "snapshots").iterdir()))

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
        await scene.deliver()
        assert scene.installed == []
        assert not scene.incoming.exists()
        scene.leader.begin(FOLLOWER, 2, scene.now)
        assert FOLLOWER not in scene.leader.members, "not at once: it may fail again"
        scene.now += streams.PAUSE
        await scene.begin()
        await scene.deliver()
        assert len(scene.installed) == 1

    run(tmp_path, story)


def test_chunks_of_a_stream_that_broke_are_not_acknowledged(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        await scene.begin()
        begin, chunk, *_ = scene.wire
        scene.follower.receive(LEADER, begin)
        scene.follower.receive(LEADER, structs.replace(chunk, crc=0))
        await scene.written()
        assert scene.back[-1].received == -1
        answers = len(scene.back)
        scene.follower.receive(LEADER, chunk)
        await scene.written()
        assert len(scene.back) == answers

    run(tmp_path, story)


def test_a_stream_that_exceeds_the_window_is_ended_and_not_kept_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incoming, "QUEUE_BYTES", 3 * transfer.CHUNK_BYTES)

    async def story(scene: Scene) -> None:
        await scene.begin()
        begin, chunk, *_ = scene.wire
        for frame in (begin, *[chunk] * 100):
            scene.follower.receive(LEADER, frame)
        assert len(scene.follower._queue) <= 4
        assert [reply.received for reply in scene.back] == [-1]
        await scene.written()
        answers = len(scene.back)
        scene.follower.receive(LEADER, chunk)
        await scene.written()
        assert len(scene.back) == answers
        scene.answer()
        scene.now += streams.PAUSE
        scene.wire.clear()
        await scene.begin()
        await scene.deliver()
        assert len(scene.installed) == 1, "the next stream is taken"

    run(tmp_path, story)


def test_acknowledgements_out_of_order_or_of_another_stream_open_no_window(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        await scene.begin()
        sent = len(scene.wire)
        stream = scene.wire[0].stream
        reply = SnapshotReply(stream, 0)
        scene.leader.reply(FOLLOWER, SnapshotReply(stream + 7, 1 << 30), scene.now)
        scene.leader.reply(FOLLOWER, reply, scene.now)
        await scene.window()
        assert len(scene.wire) == sent
        scene.leader.reply(FOLLOWER, SnapshotReply(stream, transfer.CHUNK_BYTES), scene.now)
        scene.leader.reply(FOLLOWER, reply, scene.now)
        scene.leader.reply(FOLLOWER, reply, scene.now)
        await scene.window()
        assert len(scene.wire) == sent + 1

    run(tmp_path, story)


def test_a_stream_without_acknowledgements_is_given_up(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        await scene.begin()
        scene.leader.expire(scene.now + streams.STALLED)
        assert FOLLOWER in scene.leader.members
        scene.leader.expire(scene.now + streams.STALLED + 1)
        assert FOLLOWER not in scene.leader.members
        await until(lambda: not scene.leader._tasks)
        assert list((tmp_path / "leader" / "snapshots").iterdir()) == []

    run(tmp_path, story)


def test_a_follower_that_restarts_in_the_middle_starts_over(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        await scene.begin()
        for frame in scene.wire:
            scene.follower.receive(LEADER, frame)
        await scene.written()
        assert any(scene.incoming.iterdir())
        scene.wire.clear()
        scene.back.clear()
        scene.leader.drop(FOLLOWER)
        scene.follower = scene.restarted()
        assert not scene.incoming.exists()
        await scene.begin()
        await scene.deliver()
        assert len(scene.installed) == 1

    run(tmp_path, story)


def test_a_member_that_goes_while_the_checkpoint_is_made_leaves_none_behind(
    tmp_path: Path,
) -> None:
    async def story(scene: Scene) -> None:
        scene.leader.begin(FOLLOWER, 2, scene.now)
        scene.leader.drop(FOLLOWER)
        await until(lambda: not scene.leader._tasks)
        assert scene.wire == []
        directory = tmp_path / "leader" / "snapshots"
        assert not directory.exists() or list(directory.iterdir()) == []

    run(tmp_path, story)


def test_a_checkpoint_that_cannot_be_made_yet_is_not_tried_for_a_dropped_stream(
    tmp_path: Path,
) -> None:
    async def story(scene: Scene) -> None:
        tries: list[Path] = []

        def refuse(directory: Path) -> bool:
            tries.append(directory)
            return False

        scene.source.checkpoint = refuse  # type: ignore[method-assign]
        scene.leader.begin(FOLLOWER, 2, scene.now)
        await until(lambda: len(tries) > 2)
        scene.leader.drop(FOLLOWER)
        await until(lambda: not scene.leader._tasks)
        tried = len(tries)
        await asyncio.sleep(3 * streams.CHECKPOINT_RETRY)
        assert len(tries) == tried

    run(tmp_path, story)


def test_a_full_disk_is_no_unhandled_failure_of_the_task_that_makes_a_checkpoint(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(scene: Scene) -> None:
        unhandled: list[dict[str, Any]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: unhandled.append(context))
        # Not a directory, so none can be made in it: as a disk without room refuses one.
        scene.leader._directory.write_text("")
        scene.leader.begin(FOLLOWER, 2, scene.now)
        await until(lambda: "cannot make a checkpoint" in caplog.text)
        scene.leader._directory.unlink()
        await scene.window()
        await scene.deliver()
        assert len(scene.installed) == 1, "there is room again"
        gc.collect()
        assert unhandled == []

    run(tmp_path, story)


def test_a_stream_beyond_its_bound_ends_without_the_frames_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The member that led before sends on while the new leader's stream waits for the disk."""
    monkeypatch.setattr(incoming, "QUEUE_BYTES", 3 * transfer.CHUNK_BYTES)

    async def story(scene: Scene) -> None:
        await scene.begin()
        begin, chunk, *_ = scene.wire
        begun = len(scene.wire)
        scene.follower.receive(3, begin)
        for frame in scene.wire:
            scene.follower.receive(LEADER, frame)
        for frame in [chunk] * 100:
            scene.follower.receive(3, frame)
        assert [reply.received for reply in scene.back] == [-1]
        waiting = [member for member, _ in scene.follower._queue]
        assert waiting == [LEADER] * begun
        scene.wire.clear()
        scene.back.clear()
        await scene.written()
        scene.answer()
        await scene.deliver()
        assert len(scene.installed) == 1
        assert scene.ends == [True]

    run(tmp_path, story)


def test_frames_of_a_stream_that_was_not_begun_are_not_kept(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        await scene.begin()
        chunk = scene.wire[1]
        for number in range(100):
            scene.follower.receive(LEADER, structs.replace(chunk, stream=number))
        assert not scene.follower._queue
        assert not scene.follower._tasks
        assert scene.back == []

    run(tmp_path, story)


def test_a_stream_that_its_member_began_anew_is_taken_from_its_beginning(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        await scene.begin()
        for frame in scene.wire:
            scene.follower.receive(LEADER, frame)
        # None of it is written yet.
        scene.wire.clear()
        scene.leader.drop(FOLLOWER)
        await scene.begin()
        scene.follower.receive(LEADER, scene.wire.pop(0))
        assert len(scene.follower._queue) == 1
        await scene.deliver()
        assert len(scene.installed) == 1

    run(tmp_path, story)


def test_a_checkpoint_that_fails_is_tried_again_long_before_the_stream_is_given_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(scene: Scene) -> None:
        tries: list[Path] = []
        checkpoint = scene.source.checkpoint

        def fail_at_first(directory: Path) -> bool:
            tries.append(directory)
            assert not directory.exists(), "what a failed attempt left is in the way"
            done = checkpoint(directory)
            if len(tries) < 4:
                raise OSError(errno.ENOSPC, "No space left on device")
            return done

        scene.source.checkpoint = fail_at_first  # type: ignore[method-assign]
        await scene.begin()
        await scene.deliver()
        assert len(tries) == 4
        assert len(scene.installed) == 1
        assert scene.now == 100.0
        said = [one for one in caplog.records if "cannot make a checkpoint" in one.getMessage()]
        assert len(said) == 1

    run(tmp_path, story)


def test_a_dropped_stream_ends_at_once_whatever_it_waits_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "CHECKPOINT_RETRY", 1000.0)
    monkeypatch.setattr(streams, "CHECKPOINT_RETRY_MAX", 1000.0)

    async def story(scene: Scene) -> None:
        tried = asyncio.Event()
        loop = asyncio.get_running_loop()

        def refuse(directory: Path) -> bool:
            loop.call_soon_threadsafe(tried.set)
            return False

        scene.source.checkpoint = refuse  # type: ignore[method-assign]
        scene.leader.begin(FOLLOWER, 2, scene.now)
        await tried.wait()
        await scene.worker.run(lambda: None)
        scene.leader.drop(FOLLOWER)
        await until(lambda: not scene.leader._tasks)

    run(tmp_path, story)


def test_a_checkpoint_that_cannot_be_read_is_not_made_again_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(sender: transfer.SnapshotSender) -> None:
        raise transfer.SnapshotError("the disk is broken")

    monkeypatch.setattr(transfer.SnapshotSender, "take", broken)

    async def story(scene: Scene) -> None:
        scene.leader.begin(FOLLOWER, 2, scene.now)
        await until(lambda: not scene.leader._tasks)
        scene.leader.begin(FOLLOWER, 2, scene.now)
        assert FOLLOWER not in scene.leader.members
        scene.leader.expire(scene.now + streams.PAUSE)
        scene.leader.begin(FOLLOWER, 2, scene.now + streams.PAUSE)
        assert FOLLOWER in scene.leader.members

    run(tmp_path, story)
