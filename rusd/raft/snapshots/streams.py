"""Snapshots under way: streams to members that fell behind the log, and the one coming in."""

import asyncio
import shutil
from collections.abc import Callable, Collection
from pathlib import Path

from rusd.base.logs import get_logger
from rusd.base.supervised import Tasks
from rusd.raft.ids import first_number
from rusd.raft.ports import Machine
from rusd.raft.snapshots.transfer import Received, SnapshotError, SnapshotReceiver, SnapshotSender
from rusd.raft.transport.frames import Frame, Snapshot, SnapshotReply

log = get_logger(__name__)

#: Seconds without an acknowledgement after which a stream is given up.
STALLED = 30.0
#: Seconds after which a copy that cannot be made yet is tried again.
AGAIN = 0.05
#: Seconds after a stream's end before the same member is sent another: what broke one (a full
#: disk) would break the next, and each costs a checkpoint.
PAUSE = 1.0

Send = Callable[[int, Frame], None]


class _Stream:
    """What is known of one outgoing stream; `sender` is None while the checkpoint is made."""

    def __init__(self, index: int, now: float) -> None:
        self.index = index
        self.sender: SnapshotSender | None = None
        self.heard = now


class CatchUp:
    """All snapshot streams of one member."""

    def __init__(
        self,
        directory: Path,
        machine: Machine,
        send: Send,
        fail: Callable[[BaseException], None],
    ) -> None:
        """`directory`: a place of its own on the state's file system."""
        self._directory = directory
        self._machine = machine
        self._send = send
        self._streams: dict[int, _Stream] = {}
        #: Member -> when its last stream ended.
        self._ended: dict[int, float] = {}
        self._number = first_number()
        self._tasks = Tasks(fail)
        shutil.rmtree(directory, ignore_errors=True)
        self._receiver = SnapshotReceiver(directory / "incoming")

    @property
    def members(self) -> Collection[int]:
        """Members that are being sent a snapshot (they can use no entries meanwhile); a live
        view."""
        return self._streams.keys()

    def lowest_index(self) -> int | None:
        """Index the log must be kept from for the members that are being sent a snapshot."""
        return min((stream.index for stream in self._streams.values()), default=None)

    def begin(self, member: int, index: int, now: float) -> None:
        """Send `member` a checkpoint of the state, which has applied `index`."""
        if member in self._streams or now < self._ended.get(member, -PAUSE) + PAUSE:
            return
        stream = self._streams[member] = _Stream(index, now)
        log.info("sending a snapshot", extra={"fields": {"to": f"{member:x}", "index": index}})
        self._tasks.start(f"make a snapshot for {member:x}", self._make(member, stream))

    async def _make(self, member: int, stream: _Stream) -> None:
        self._number += 1
        directory = self._directory / f"outgoing-{self._number}"
        loop = asyncio.get_running_loop()
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            # Refused while an apply is half done; no event of this room tells when that is over.
            while not await loop.run_in_executor(  # noqa: ASYNC110
                None, self._machine.checkpoint, directory
            ):
                await asyncio.sleep(AGAIN)
        except Exception:
            log.exception("cannot make a checkpoint for a member that lags")
            shutil.rmtree(directory, ignore_errors=True)
            # The stream stays until it counts as stalled: at once would only fail again.
            return
        if self._streams.get(member) is not stream:
            shutil.rmtree(directory, ignore_errors=True)
            return
        stream.sender = SnapshotSender(self._number, directory, stream.index)
        self._push(member, stream)

    def _push(self, member: int, stream: _Stream) -> None:
        assert stream.sender is not None
        try:
            for frame in stream.sender.frames():
                self._send(member, frame)
        except (SnapshotError, OSError):
            log.exception("cannot read the checkpoint for a member that lags")
            self._drop(member)

    def reply(self, member: int, frame: SnapshotReply, now: float) -> None:
        """The member's acknowledgement; a negative one ends the stream."""
        stream = self._streams.get(member)
        if stream is None or stream.sender is None or stream.sender.stream != frame.stream:
            return
        stream.heard = now
        if frame.received < 0:
            self._ended[member] = now
            self._drop(member)
            return
        stream.sender.acknowledge(frame.received)
        self._push(member, stream)

    def expire(self, now: float) -> None:
        for member, stream in list(self._streams.items()):
            if now - stream.heard > STALLED:
                self._drop(member)

    def drop(self, member: int) -> None:
        """The member is gone, or this one leads no more."""
        if member in self._streams:
            self._drop(member)

    def drop_all(self) -> None:
        for member in list(self._streams):
            self._drop(member)

    def _drop(self, member: int) -> None:
        stream = self._streams.pop(member)
        if stream.sender is not None:
            stream.sender.close()

    def receive(self, member: int, frame: Snapshot) -> Received | None:
        """A frame of the incoming stream; the checkpoint once it is whole and durable."""
        try:
            complete = self._receiver.frame(member, frame)
        except (SnapshotError, OSError) as error:
            log.warning("a snapshot broke off", extra={"fields": {"error": str(error)}})
            self.finished(member, frame.stream, installed=False)
            return None
        if complete is None and self._receiver.takes(member, frame):
            received = self._receiver.received
            self._send(member, SnapshotReply(frame.stream, received))
        return complete

    def finished(self, member: int, stream: int, *, installed: bool) -> None:
        """Tell the leader that this stream is over."""
        self._receiver.reset()
        # A negative count ends the stream; installed or not, the leader goes on by our next ack.
        self._send(member, SnapshotReply(stream, -1))
        if installed:
            log.info("installed a snapshot", extra={"fields": {"from": f"{member:x}"}})

    async def stop(self) -> None:
        await self._tasks.stop()
        self.drop_all()
        shutil.rmtree(self._directory, ignore_errors=True)
