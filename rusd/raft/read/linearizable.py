"""Linearizable reads between members: the messages around `rounds.py` and `waiting.py`.

    ReadIndexRequest {id}          a follower asks the leader for its reads
    ReadRound {term, number}       the leader asks the others whether they still follow it
    ReadRoundReply {term, number}  they do
    ReadIndexReply {id, index}     the follower may read once it has applied `index`

None of them waits for a disk. A request that cannot be answered (no leader, a new one, one that
cannot reach a quorum) stays unanswered; the follower asks again.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from rusd.base.errors import Refusal
from rusd.raft.ports import RaftState
from rusd.raft.read.rounds import ReadIndexRounds
from rusd.raft.read.waiting import MAX_WAITING_READS, Read, Released, WaitingReads
from rusd.raft.transport.frames import (
    ReadIndexReply,
    ReadIndexRequest,
    ReadRound,
    ReadRoundReply,
)

#: Requests of one member that wait for a quorum at once. Further ones are dropped; the member asks
#: again after `waiting.RETRY` seconds. (A leader without a quorum steps down after an election
#: timeout, in which a member sends one request a turn.)
MAX_UNANSWERED = 4096

Message = ReadIndexReply | ReadIndexRequest | ReadRound | ReadRoundReply


class Followers(RaftState, Protocol):
    """The Raft state, and the members to ask."""

    @property
    def peers(self) -> Collection[int]:
        """All other members."""


class LinearizableReads:
    """The reads of one member, and, on a leader, the rounds for all members' reads."""

    def __init__(
        self,
        raft: Followers,
        send: Callable[[int, Message], None],
        wait: Callable[[int, int], None],
        first_number: int,
    ) -> None:
        """`wait` is called with a follower and the index it waits for."""
        self._raft = raft
        self._wait = wait
        self._send = send
        self._rounds = ReadIndexRounds(len(raft.membership.voters))
        self._reads = WaitingReads(first_number)
        #: (member, request number): waiting until this leader may open a round.
        self._asked: list[tuple[int, int]] = []
        #: Member -> its requests received and not answered yet: a repeated one needs no round of
        #: its own.
        self._unanswered: defaultdict[int, set[int]] = defaultdict(set)

    @property
    def full(self) -> bool:
        """Whether a further read must be refused."""
        return self._reads.count >= MAX_WAITING_READS

    @property
    def failed(self) -> int:
        """Number of failed reads."""
        return self._reads.failed

    @property
    def repeated(self) -> int:
        """Number of requests to the leader that were repeated."""
        return self._reads.repeated

    def add(self, read: Read) -> None:
        """Add a read; the next step requests its read index."""
        self._reads.add(read)

    def step(self, now: float, *, current: bool, leader_connected: bool) -> None:
        """Open a round for waiting reads, or send them to the leader. `current`: an entry of the
        current term is applied here; before that, entries committed by earlier leaders may be
        missing.
        """
        raft, reads = self._raft, self._reads
        if raft.is_leader:
            if not current:
                return
            if reads.count and reads.pending():
                waiting = reads.take()
                self._rounds.add(lambda index: reads.confirmed(index, waiting))
            if self._asked:
                for member, number in self._asked:
                    self._rounds.add(self._replier(member, number))
                self._asked = []
            opened = self._rounds.open(raft.commit_index)
            if opened is not None:
                self._ask_followers(opened)
        elif leader_connected and reads.pending():
            for number in reads.ask(now):
                self._send(raft.leader, ReadIndexRequest(number))

    def _ask_followers(self, number: int) -> None:
        message = ReadRound(self._raft.term, number)
        for member in self._raft.peers:
            self._send(member, message)

    def _replier(self, member: int, number: int) -> Callable[[int | None], None]:
        def reply(index: int | None) -> None:
            self._unanswered[member].discard(number)
            if index is not None:
                self._wait(member, index)
                self._send(member, ReadIndexReply(number, index))

        return reply

    # Messages

    def requested(self, member: int, message: ReadIndexRequest) -> None:
        """Handle a follower's request for a read index."""
        unanswered = self._unanswered[member]
        known = message.id in unanswered
        if self._raft.is_leader and not known and len(unanswered) < MAX_UNANSWERED:
            unanswered.add(message.id)
            self._asked.append((member, message.id))

    def follows(self, member: int, message: ReadRound) -> bool:
        """Return whether this member follows the requesting leader."""
        return message.term == self._raft.term and self._raft.leader == member

    def awaits(self, number: int) -> bool:
        """Return whether reads still wait for the confirmation of round `number`."""
        return self._rounds.awaits(number)

    def round_confirmed(self, member: int, message: ReadRoundReply) -> None:
        """Handle a member's confirmation of this leader."""
        raft = self._raft
        if raft.is_leader and message.term == raft.term and member in raft.membership.voters:
            self._rounds.confirm(member, message.number)

    def replied(self, member: int, message: ReadIndexReply) -> None:
        """Handle the leader's confirmation of this member's reads."""
        self._reads.answered(message.id, message.index)

    # What happens around

    def release(self, applied: int) -> list[Released]:
        """Returns the reads that may be served at the applied index `applied`, a limited number."""
        return self._reads.release(applied) if self._reads.count else []

    def put_back(self, reads: Sequence[Released]) -> None:
        """Take reads back that were released and not served."""
        self._reads.put_back(reads)

    @property
    def more(self) -> bool:
        """Whether `release` left reads that may be served."""
        return self._reads.more

    def reconfigured(self) -> None:
        """Use another membership."""
        self._rounds.reopen(len(self._raft.membership.voters))

    def leadership_lost(self) -> None:
        """Drop all rounds: none can be confirmed any more."""
        self._rounds.fail()
        self._asked = []
        self._unanswered.clear()

    def leader_changed(self, now: float) -> None:
        """Repeat all requests: the earlier leader may not respond."""
        self._reads.ask_again(now, everything=True)

    def remind(self) -> None:
        """Repeat the newest open round, once for each heartbeat."""
        number = self._rounds.unanswered()
        if number is not None:
            self._ask_followers(number)

    def expire(self, now: float, error: type[Refusal]) -> list[Released]:
        """Repeat unanswered requests; fail reads after their deadline."""
        self._reads.ask_again(now)
        return self._reads.expire(now, error)

    def fail(self, error: type[Refusal]) -> list[Released]:
        """Fail all reads."""
        self._rounds.fail()
        return self._reads.fail(error)
