"""What a turn sends, in two parts: before its flush and after it.

Appends, forwarded proposals and questions assert nothing about this member's disk and go out
early, so that the others work while this one writes. Acknowledgements and votes wait until what
they assert is durable.
"""

from collections.abc import Callable, Iterator, Sequence

from rusd.raft.core.messages import frame_of
from rusd.raft.core.syncobj import RaftCore
from rusd.raft.log.journal import LogEntry
from rusd.raft.snapshots.streams import CatchUp
from rusd.raft.transport.frames import MAX_FRAME, AppendEntries, Frame, pack
from rusd.raft.transport.peers import Peers

#: Bytes of entries above which an append is sent as several frames. The rest of a frame is for what
#: surrounds the entries; a single entry may be larger (`MAX_CARRIED`).
APPEND_BYTES = MAX_FRAME // 2


class Outgoing:
    """The way out of one member."""

    def __init__(self, core: RaftCore, peers: Peers, applied: Callable[[], int]) -> None:
        """`applied` gives the index a snapshot would hold."""
        self._core = core
        self._peers = peers
        self._applied = applied
        self._late: list[tuple[int, Frame]] = []

    def send(self, member: int, frame: Frame) -> None:
        """Now."""
        self._peers.send(member, pack(frame))

    def broadcast(self, frame: Frame) -> None:
        """Now, to all others."""
        data = pack(frame)
        for member in self._core.peers:
            self._peers.send(member, data)

    def later(self, member: int, frame: Frame) -> None:
        """After the flush."""
        self._late.append((member, frame))

    def early(self, catchup: CatchUp, now: float) -> None:
        """Appends go out; the rest of PySyncObj's messages waits for the flush."""
        outbox, self._core.link.outbox = self._core.link.outbox, []
        packed: dict[tuple[int, int, int, int], bytes] = {}
        for member, message in outbox:
            if message["type"] != "append_entries":
                self.later(member, frame_of(message))
                continue
            if "serialized" in message or catchup.sending_to(member):
                # It needs a snapshot; this keeps its timer still.
                self.send(member, AppendEntries(message["term"], 0))
                continue
            key = (
                message["term"],
                message["commit_index"],
                message["prevLogIdx"],
                len(message["entries"]),
            )
            data = packed.get(key)
            if data is None:
                before = message["prevLogIdx"], message["prevLogTerm"]
                parts = _receivable(
                    message["term"], message["commit_index"], before, message["entries"]
                )
                data = packed[key] = b"".join(map(pack, parts))
            self._peers.send(member, data, droppable=True)
        for member in self._core.wants_snapshot():
            catchup.begin(member, self._applied(), now)

    def flushed(self) -> None:
        """What waited for the flush goes out."""
        late, self._late = self._late, []
        for member, frame in late:
            self.send(member, frame)


def _receivable(
    term: int, commit: int, before: tuple[int, int], entries: Sequence[LogEntry]
) -> Iterator[AppendEntries]:
    """An append as one frame, or as several that follow each other if it would be too large.
    `before`: index and term of the entry before the first."""
    size = first = 0
    for at, (command, _, _) in enumerate(entries):
        size += len(command)
        if size > APPEND_BYTES and at > first:
            yield AppendEntries(term, commit, *before, entries[first:at])
            before = entries[at - 1][1:]
            first, size = at, len(command)
    yield AppendEntries(term, commit, *before, entries[first:])
