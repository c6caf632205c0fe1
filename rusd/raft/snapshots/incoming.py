"""The snapshot that a leader sends to this member.

Frames are queued on the loop and written by the `Worker`, in order; each acknowledgement leaves
when its chunk is on the disk, so the sender's window bounds the queue. A sender that ignores the
window ends its stream, and no other. When the snapshot is whole and durable it is handed to
`install`, and while that works the queue waits.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from rusd.base.logs import get_logger
from rusd.base.supervised import Fail, Tasks
from rusd.base.worker import Worker
from rusd.raft.snapshots.transfer import (
    WINDOW_BYTES,
    Received,
    SnapshotError,
    SnapshotReceiver,
)
from rusd.raft.statistics import Transfers
from rusd.raft.transport.frames import Frame, Snapshot, SnapshotBegin, SnapshotChunk, SnapshotReply

log = get_logger(__name__)

#: Bytes of frames of one stream that wait to be written; a stream that exceeds them is ended. A
#: sender that keeps to its window has the window and one frame for each file under way.
QUEUE_BYTES = 4 * WINDOW_BYTES
#: What a frame counts besides its data, and a file in the list of them.
FRAME_BYTES = 128

#: Installs a snapshot; returns whether it replaced the state. Raises SnapshotError.
Install = Callable[[Received], Awaitable[bool]]
#: Called at the end of a whole stream: the member that sent it, and whether it was installed.
Acknowledge = Callable[[int, bool], None]


class IncomingSnapshot:
    """Receives one stream at a time; a newer one replaces an older."""

    def __init__(
        self,
        directory: Path,
        send: Callable[[int, Frame], None],
        worker: Worker,
        fail: Fail,
        install: Install,
        acknowledge: Acknowledge,
    ) -> None:
        """`directory`: for incoming files only, on the state's file system; removed here."""
        self._send = send
        self._worker = worker
        self._install = install
        self._acknowledge = acknowledge
        self._receiver = SnapshotReceiver(directory)
        self._queue: deque[tuple[int, Snapshot]] = deque()
        #: Member -> its stream that is taken: the last one it began, until that ends.
        self._taken: dict[int, int] = {}
        #: Member -> bytes of its stream that wait.
        self._queued: Counter[int] = Counter()
        self._tasks = Tasks(fail)
        #: A task works on the queue. (It is in `_tasks` for a moment longer.)
        self._working = False
        self._stopped = False
        #: By member.
        self.transfers: defaultdict[int, Transfers] = defaultdict(Transfers)

    def receive(self, member: int, frame: Snapshot) -> None:
        """Handle a frame of the leader."""
        if self._stopped:
            return
        if isinstance(frame, SnapshotBegin):
            self._forget(member)
            self._taken[member] = frame.stream
        elif not self._takes(member, frame):
            return
        self._queued[member] += _size(frame)
        self._queue.append((member, frame))
        if self._queued[member] > QUEUE_BYTES:
            log.warning("a snapshot broke off", extra={"fields": {"error": "window exceeded"}})
            self._forget(member)
            self.transfers[member].end(success=False)
            self._send(member, SnapshotReply(frame.stream, -1))
        elif not self._working:
            self._working = True
            self._tasks.start("receive a snapshot", self._work())

    def _takes(self, member: int, frame: Snapshot) -> bool:
        """Return whether a frame belongs to the current stream of its member."""
        return self._taken.get(member) == frame.stream

    def _forget(self, member: int) -> None:
        """Drop the frames of a member's ended stream."""
        if self._taken.pop(member, None) is not None:
            self._queue = deque(each for each in self._queue if each[0] != member)
            del self._queued[member]

    async def _work(self) -> None:
        while self._queue and not self._stopped:
            member, frame = self._queue.popleft()
            self._queued[member] -= _size(frame)
            if isinstance(frame, SnapshotBegin):
                self.transfers[member].begin()
            try:
                complete = await self._worker.run(partial(self._receiver.frame, member, frame))
            except (SnapshotError, OSError) as error:
                await self._broke_off(member, frame.stream, error)
                continue
            if complete is not None:
                await self._complete(member, frame.stream, complete)
            elif not self._takes(member, frame):
                await self._worker.run(self._receiver.reset)  # ended meanwhile
            elif self._receiver.takes(member, frame):
                self._send(member, SnapshotReply(frame.stream, self._receiver.received))
        self._working = False

    async def _complete(self, member: int, stream: int, complete: Received) -> None:
        try:
            installed = not self._stopped and await self._install(complete)
        except SnapshotError as error:
            await self._broke_off(member, stream, error)
            return
        self.transfers[member].end(success=installed)
        if installed:
            log.info("installed a snapshot", extra={"fields": {"from": f"{member:x}"}})
        await self._finish(member, stream)
        # Behind the end of the stream: while it lasts, the leader sends no entries.
        self._acknowledge(member, installed)

    async def _broke_off(self, member: int, stream: int, error: Exception) -> None:
        self.transfers[member].end(success=False)
        log.warning("a snapshot broke off", extra={"fields": {"error": str(error)}})
        await self._finish(member, stream)

    async def _finish(self, member: int, stream: int) -> None:
        """Report the end of this stream to the leader; it continues after the next `AppendReply`,
        whether the snapshot was installed or not.
        """
        if self._taken.get(member) == stream:
            self._forget(member)
        await self._worker.run(self._receiver.reset)
        self._send(member, SnapshotReply(stream, -1))

    async def stop(self) -> None:
        """Accept no further frames; wait until all disk operations have ended."""
        self._stopped = True
        await self._tasks.finish()


def _size(frame: Snapshot) -> int:
    if isinstance(frame, SnapshotChunk):
        return FRAME_BYTES + len(frame.data)
    if isinstance(frame, SnapshotBegin):
        return FRAME_BYTES * (1 + len(frame.files))
    return FRAME_BYTES
