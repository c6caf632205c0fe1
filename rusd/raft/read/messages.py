"""Linearizable reads between members: the frames around `read_index.py` and `reads.py`.

    read_index {id}               a follower asks the leader for its reads
    read {term, number}           the leader asks everybody whether it still leads
    read_reply {term, number}     it does
    read_index_reply {id, index}  the follower may read once it has applied `index`

Nothing here waits for a disk. A question nobody can answer (no leader, a new one, one that cannot
reach a quorum) stays unanswered; the asking side asks again.
"""

from collections.abc import Callable

from rusd.base.errors import Refusal
from rusd.raft.core.syncobj import RaftCore
from rusd.raft.read.rounds import ReadIndex
from rusd.raft.read.waiting import Read, Reads
from rusd.raft.transport.frames import (
    Frame,
    ReadIndexReply,
    ReadIndexRequest,
    ReadRound,
    ReadRoundReply,
)


class Reading:
    """One member's reads, and the leader's rounds for everybody's."""

    def __init__(
        self,
        core: RaftCore,
        send: Callable[[int, Frame], None],
        broadcast: Callable[[Frame], None],
    ) -> None:
        self._core = core
        self._send = send
        self._broadcast = broadcast
        self._rounds = ReadIndex(core.voters)
        self._reads = Reads()
        #: The highest index a follower was told to wait for.
        self.awaited_index = 0
        #: (member, question): waiting until this leader may open a round.
        self._asked: list[tuple[int, int]] = []
        #: Questions received and not answered yet: a repeated one needs no round of its own.
        self._unanswered: set[tuple[int, int]] = set()

    def add(self, read: Read) -> None:
        self._reads.add(read)

    def step(self, now: float, *, current: bool, leader_connected: bool) -> None:
        """Put the waiting reads to a quorum or to the leader. `current`: an entry of the core's
        term is applied here; before that, what earlier leaders committed may not be."""
        core, reads = self._core, self._reads
        if core.is_leader:
            if not current:
                return
            if reads.pending():
                waiting = reads.take()
                self._rounds.add(lambda index: reads.confirmed(index, waiting))
            for member, question in self._asked:
                self._rounds.add(self._replier(member, question))
            self._asked = []
            number = self._rounds.open(core.commit_index)
            if number is not None:
                self._ask_everybody(number)
            reads.applied(core.applied_index)
        elif leader_connected and reads.pending():
            for question in reads.ask(now):
                self._send(core.leader, ReadIndexRequest(question))

    def _ask_everybody(self, number: int) -> None:
        self._broadcast(ReadRound(self._core.term, number))

    def _replier(self, member: int, question: int) -> Callable[[int | None], None]:
        def reply(index: int | None) -> None:
            self._unanswered.discard((member, question))
            if index is not None:
                self.awaited_index = max(self.awaited_index, index)
                self._send(member, ReadIndexReply(question, index))

        return reply

    # Frames

    def asked_by_follower(self, member: int, frame: ReadIndexRequest, now: float) -> None:
        """`read_index`."""
        question = member, frame.id
        if self._core.is_leader and question not in self._unanswered:
            self._unanswered.add(question)
            self._asked.append(question)

    def asked_by_leader(self, member: int, frame: ReadRound, now: float) -> None:
        """`read`."""
        if frame.term == self._core.term and self._core.leader == member:
            self._send(member, ReadRoundReply(frame.term, frame.number))

    def confirmed(self, member: int, frame: ReadRoundReply, now: float) -> None:
        """`read_reply`."""
        core = self._core
        if core.is_leader and frame.term == core.term and member in core.membership.voters:
            self._rounds.confirm(member, frame.number)

    def answered(self, member: int, frame: ReadIndexReply, now: float) -> None:
        """`read_index_reply`."""
        self._reads.answered(frame.id, frame.index)

    # What happens around

    def applied(self, index: int) -> bool:
        """Whether more reads may go than were let go now."""
        self._reads.applied(index)
        return self._reads.more

    def reconfigured(self) -> None:
        """The core has another membership."""
        self._rounds.reopen(self._core.voters)

    def leadership_lost(self) -> None:
        """No round can be confirmed any more."""
        self._rounds.fail()
        self._asked = []
        self._unanswered.clear()

    def leader_changed(self, now: float) -> None:
        """The leader that was asked may not answer any more."""
        self._reads.ask_again(now, everything=True)

    def remind(self) -> None:
        """A heartbeat has passed: the newest open round is asked about again."""
        number = self._rounds.unanswered()
        if number is not None:
            self._ask_everybody(number)

    def expire(self, now: float, error: type[Refusal]) -> None:
        """Ask again what is unanswered, give up what is late."""
        self._reads.ask_again(now)
        self._reads.expire(now, error)

    def fail(self, error: type[Refusal]) -> None:
        self._rounds.fail()
        self._reads.fail(error)
