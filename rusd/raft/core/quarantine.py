"""Quarantine: a member that may have lost acknowledged entries does not vote until it caught up.

Its disk was lost and it joined anew under its old id, or its data directory is an older copy
(`transport/handshake.py` finds out). What it acknowledged may be on one other disk only, and a vote
or an acknowledgement of its own could make a quorum without that one. A member in quarantine

- neither campaigns nor votes, for a candidate or in a PreVote,
- acknowledges nothing, and takes no entries: it is sent a snapshot,
- does not confirm a leader that asks whether it still leads.

It leaves quarantine when a linearizable read that began in this quarantine is answered here. The
leader was then confirmed by a quorum of others after this process began, and everything that leader
knew to be committed is applied here. A leader forgets what a member acknowledged when that connects
anew, so nothing is committed by what the lost disk held. Where the others are no quorum there is
nothing to catch up with, and the member stays in quarantine.

What it voted in the current term is forgotten: on leaving, its vote is bound to the term's leader.
That must be durable before the end of the quarantine is recorded (`Ready.recovered`), or a crash in
between would leave a member that may vote for another candidate.
"""

from collections.abc import Callable

from rusd.base.logs import get_logger
from rusd.raft.core.algorithm import Algorithm
from rusd.raft.read.linearizable import LinearizableReads
from rusd.raft.read.waiting import Read

log = get_logger(__name__)


class Quarantine:
    """Quarantine state of this member, and the steps that end it."""

    def __init__(
        self, raft: Algorithm, reads: LinearizableReads, patience: float, *, active: bool
    ) -> None:
        """`patience`: seconds between two requests for a snapshot. `active`: it began in an earlier
        incarnation.
        """
        self._raft = raft
        self._reads = reads
        self._patience = patience
        self.active = active
        self._number = 0
        self._asking = False
        self._answered = False
        #: When a snapshot may be asked for again.
        self._next_snapshot = 0.0

    def begin(self) -> None:
        """Begin: other members have recorded later incarnations of this member."""
        self.active = True
        self._number += 1
        self._asking = self._answered = False
        if self._raft.is_leader:
            self._raft.step_down()
        log.error(
            "this data directory holds less than this member has acknowledged: it takes no part "
            "in elections and commits until it has caught up"
        )

    def end(self) -> None:
        """End: the recovery is durable, and this member votes again."""
        self.active = False
        log.warning("this member has caught up and takes part again")

    def step(self) -> bool:
        """Request what ends the quarantine, if there is a leader. Returns whether this member has
        caught up: its vote then belongs to the leader, once it is flushed.
        """
        raft = self._raft
        if not self.active or not raft.leader:
            self._answered = False
            return False
        if self._answered:
            self._answered = False
            raft.vote_for_leader()
            return True
        if not self._asking:
            self._asking = True
            # Without a deadline: the snapshot may take longer to come than a call may wait, and the
            # index of a later read would be ahead of it again while clients write.
            self._reads.add(Read(self._on_answer(self._number), float("inf")))
        return False

    @property
    def has_answer(self) -> bool:
        """Whether the next step may end the quarantine."""
        return self._answered

    def _on_answer(self, number: int) -> Callable[[object], None]:
        def answered(error: object) -> None:
            if number == self._number:
                self._asking = False
                self._answered = error is None

        return answered

    def wants_snapshot(self, now: float) -> bool:
        """Return whether to ask for a snapshot (again)."""
        if not self.active or now < self._next_snapshot:
            return False
        self._next_snapshot = now + self._patience
        return True
