"""What a turn sends, in two parts: before its flush and after it.

Appends, forwarded proposals and questions assert nothing about this member's disk and go out
early, so that the others work while this one writes. Acknowledgements and votes wait until what
they assert is durable.
"""

from collections.abc import Callable, Iterator, Sequence

from rusd.raft.core.syncobj import RaftCore
from rusd.raft.log.journal import LogEntry
from rusd.raft.snapshots.streams import CatchUp
from rusd.raft.transport.frames import MAX_FRAME, Frame, pack
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
                self.later(member, message)
                continue
            if "serialized" in message or catchup.sending_to(member):
                # It needs a snapshot; this keeps its timer still.
                alive = {"type": "append_entries", "term": message["term"], "commit_index": 0}
                self.send(member, alive)
                continue
            key = (
                message["term"],
                message["commit_index"],
                message["prevLogIdx"],
                len(message["entries"]),
            )
            data = packed.get(key)
            if data is None:
                data = packed[key] = b"".join(map(pack, _receivable(message)))
            self._peers.send(member, data, droppable=True)
        for member in self._core.wants_snapshot():
            catchup.begin(member, self._applied(), now)

    def flushed(self) -> None:
        """What waited for the flush goes out."""
        late, self._late = self._late, []
        for member, frame in late:
            self.send(member, frame)


def _receivable(append: Frame) -> Iterator[Frame]:
    """An append as one frame, or as several that follow each other if it would be too large."""
    entries, size, first = append["entries"], 0, 0
    before: Sequence[int] = append["prevLogIdx"], append["prevLogTerm"]
    for at, (command, _, _) in enumerate(entries):
        size += len(command)
        if size > APPEND_BYTES and at > first:
            yield _part(append, before, entries[first:at])
            _, *before = entries[at - 1]
            first, size = at, len(command)
    yield _part(append, before, entries[first:]) if first else append


def _part(append: Frame, before: Sequence[int], entries: Sequence[LogEntry]) -> Frame:
    index, term = before
    return {**append, "entries": entries, "prevLogIdx": index, "prevLogTerm": term}
