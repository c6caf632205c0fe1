"""Snapshots sent to members that the log cannot bring up to date.

One task a stream: make a checkpoint of the state, read it in batches, send them within the window,
wait for acknowledgements, remove it. All that touches the disk runs in the `Worker`; the loop only
sends. A stream ends when the member says so, when it falls silent for `STALLED` seconds, or when it
is dropped (the member is gone, or this one leads no more). How it goes on: the follower's next
`AppendReply` tells the leader where to continue.
"""

import asyncio
import contextlib
import shutil
from collections import defaultdict
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

from rusd.base.logs import get_logger
from rusd.base.supervised import Fail, Tasks
from rusd.base.worker import Worker
from rusd.raft.ids import first_number
from rusd.raft.ports import Machine
from rusd.raft.snapshots.transfer import SnapshotError, SnapshotSender
from rusd.raft.statistics import Transfers
from rusd.raft.transport.frames import Frame, SnapshotReply

log = get_logger(__name__)

#: Seconds without an acknowledgement after which a stream is given up.
STALLED = 30.0
#: Seconds after which a checkpoint that cannot be made (an apply is half done, the disk is full) is
#: tried again, doubled with each attempt up to the last.
CHECKPOINT_RETRY, CHECKPOINT_RETRY_MAX = 0.05, 1.0
#: Seconds after a stream's end before the same member is sent another: what broke one (a full
#: disk) would break the next, and each costs a checkpoint.
PAUSE = 1.0

Send = Callable[[int, Frame], None]


class _Stream:
    """One outgoing stream."""

    def __init__(self, number: int, index: int, now: float) -> None:
        self.number = number
        self.index = index
        #: When the member acknowledged something last.
        self.heard = now
        #: None while the checkpoint is made.
        self.sender: SnapshotSender | None = None
        self.dropped = False
        #: An acknowledgement came, or the stream was dropped.
        self.wake = asyncio.Event()


class SnapshotStreams:
    """All outgoing streams of one member."""

    def __init__(
        self,
        directory: Path,
        machine: Machine,
        send: Send,
        worker: Worker,
        fail: Fail,
    ) -> None:
        """`directory`: for outgoing checkpoints only, on the state's file system; emptied here."""
        self._directory = directory
        self._machine = machine
        self._send = send
        self._worker = worker
        self._streams: dict[int, _Stream] = {}
        #: Member -> when its last stream ended.
        self._ended: dict[int, float] = {}
        #: When something was heard of last; the tasks have no clock.
        self._now = 0.0
        self._number = first_number()
        #: By member.
        self.transfers: defaultdict[int, Transfers] = defaultdict(Transfers)
        self._tasks = Tasks(fail)
        shutil.rmtree(directory, ignore_errors=True)

    @property
    def members(self) -> Collection[int]:
        """Members that are being sent a snapshot, and take no entries meanwhile; a live view."""
        return self._streams.keys()

    def lowest_index(self) -> int | None:
        """First index the log must keep for the members that are being sent a snapshot."""
        return min((stream.index for stream in self._streams.values()), default=None)

    def begin(self, member: int, index: int, now: float) -> None:
        """Send `member` a checkpoint of the state, whose applied index is `index`."""
        self._now = now
        if member in self._streams or now < self._ended.get(member, -PAUSE) + PAUSE:
            return
        self._number += 1
        self.transfers[member].begin()
        stream = self._streams[member] = _Stream(self._number, index, now)
        log.info("sending a snapshot", extra={"fields": {"to": f"{member:x}", "index": index}})
        self._tasks.start(f"send a snapshot to {member:x}", self._run(member, stream))

    async def _run(self, member: int, stream: _Stream) -> None:
        directory = self._directory / f"outgoing-{stream.number}"
        try:
            if not await self._make(stream, directory):
                return
            stream.sender = SnapshotSender(stream.number, directory, stream.index)
            await self._push(member, stream, stream.sender)
        except (SnapshotError, OSError):
            log.exception("cannot read the checkpoint for a member that lags")
            if not stream.dropped:
                self._ended[member] = self._now
                self.drop(member)
        finally:
            if stream.sender is not None:
                await self._worker.run(stream.sender.close)
            else:
                remove = partial(shutil.rmtree, directory, ignore_errors=True)
                await self._worker.run(remove)

    async def _make(self, stream: _Stream, directory: Path) -> bool:
        """Write the checkpoint; return whether it exists and its stream has not ended."""

        def make() -> bool:
            directory.parent.mkdir(parents=True, exist_ok=True)
            return self._machine.checkpoint(directory)

        retry = CHECKPOINT_RETRY
        failed = made = False
        while not (stream.dropped or made):
            stream.wake.clear()
            try:
                made = await self._worker.run(make)
            except Exception:
                if not failed:
                    log.exception("cannot make a checkpoint for a member that lags")
                failed = True
                await self._worker.run(partial(shutil.rmtree, directory, ignore_errors=True))
            if not (stream.dropped or made):
                await _set_within(stream.wake, retry)
                retry = min(2 * retry, CHECKPOINT_RETRY_MAX)
        return made and not stream.dropped

    async def _push(self, member: int, stream: _Stream, sender: SnapshotSender) -> None:
        while not stream.dropped:
            stream.wake.clear()
            frames = await self._worker.run(sender.take)
            for frame in frames:
                if not stream.dropped:
                    self._send(member, frame)
            if not frames:
                await stream.wake.wait()

    def reply(self, member: int, frame: SnapshotReply, now: float) -> None:
        """Handle the member's acknowledgement; a negative one ends the stream."""
        stream = self._streams.get(member)
        if stream is None or stream.sender is None or stream.number != frame.stream:
            return
        stream.heard = now
        if frame.received < 0:
            self._ended[member] = now
            self.transfers[member].end(success=stream.sender.complete)
            self.drop(member)
        else:
            stream.sender.acknowledge(frame.received)
            stream.wake.set()

    def expire(self, now: float) -> None:
        """End the streams of members that have sent nothing for too long."""
        self._now = now
        for member, stream in list(self._streams.items()):
            if now - stream.heard > STALLED:
                self.drop(member)

    def drop(self, member: int) -> None:
        """End the stream to a member, if any: it was removed, or this member no longer leads."""
        stream = self._streams.pop(member, None)
        if stream is not None:
            self.transfers[member].end(success=False)
            stream.dropped = True
            stream.wake.set()

    def drop_all(self) -> None:
        """End all streams."""
        for member in list(self._streams):
            self.drop(member)

    async def stop(self) -> None:
        """End all streams and wait until all disk operations have ended."""
        self.drop_all()
        await self._tasks.finish()
        await self._worker.run(partial(shutil.rmtree, self._directory, ignore_errors=True))


async def _set_within(event: asyncio.Event, seconds: float) -> None:
    """Wait until the event is set, for `seconds` at most."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
