"""What a turn sends, in two parts: before its flush and after it.

Appends, forwarded proposals and questions assert nothing about this member's disk and go out
early, so that the others work while this one writes. Acknowledgements and votes wait until what
they assert is durable.
"""

from collections.abc import Callable

from rusd.raft.catchup import CatchUp
from rusd.raft.core import RaftCore
from rusd.raft.frames import Frame, pack
from rusd.raft.peers import Peers


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
                data = packed[key] = pack(message)
            self._peers.send(member, data, droppable=True)
        for member in self._core.wants_snapshot():
            catchup.begin(member, self._applied(), now)

    def flushed(self) -> None:
        """What waited for the flush goes out."""
        late, self._late = self._late, []
        for member, frame in late:
            self.send(member, frame)
