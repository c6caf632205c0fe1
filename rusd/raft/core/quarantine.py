"""A member whose disk may hold less than it has said: it counts for nothing until it caught up.

Its disk was lost and it joined anew under its old id, or its data directory is an older copy
(`handshake.py` finds out). What it acknowledged may be on one other disk only, and a vote or an
acknowledgement of its own could make a quorum without that one. While it is in quarantine it

- neither campaigns nor votes, for a candidate or in a PreVote,
- acknowledges nothing, and takes no entries: it is sent the state (`installing.py`),
- does not confirm a leader that asks whether it still leads.

It is over when a linearizable read that began in this quarantine is answered here. The leader was
then confirmed by a quorum of others after this process began, and everything that leader knew to be
committed is applied here. A leader forgets what a member acknowledged when that connects anew, so
that nothing is committed by what the lost disk held. Where the others are no quorum there is
nothing to catch up with, and the member stays in quarantine.
"""

from collections.abc import Callable

from rusd.base.logs import get_logger
from rusd.raft.core.syncobj import RaftCore
from rusd.raft.read.messages import Reading
from rusd.raft.read.waiting import Read
from rusd.raft.transport.incarnations import Incarnations

log = get_logger(__name__)


class Quarantine:
    """Whether one member is in quarantine, and its way out."""

    def __init__(
        self, core: RaftCore, incarnations: Incarnations, reading: Reading, patience: float
    ) -> None:
        """`patience`: seconds between two questions for the state."""
        self._core = core
        self._incarnations = incarnations
        self._reading = reading
        self._patience = patience
        self._number = 0
        self._asking = False
        #: When the state may be asked for again.
        self._next_state = 0.0

    @property
    def active(self) -> bool:
        return self._incarnations.own.recovering

    def begin(self, after: int) -> None:
        """Others know of later lives of this member, up to number `after`. Durable; OSError:
        the process must end."""
        self._number += 1
        self._asking = False
        if self._core.is_leader:
            self._core.stand_down()
        self._incarnations.recover(after)
        log.error(
            "this data directory holds less than this member has acknowledged: it takes no part "
            "in elections and commits until it has caught up"
        )

    def step(self, now: float) -> None:
        """Ask for the way out, if there is a leader."""
        if self.active and self._core.leader and not self._asking:
            self._asking = True
            # Without a deadline: the state may take longer to come than a call may wait, and the
            # index of a later question would be ahead of it again while clients write.
            self._reading.add(Read(self._answer(self._number), float("inf")))

    def _answer(self, number: int) -> Callable[[Exception | None], None]:
        def answered(error: Exception | None) -> None:
            if number == self._number:
                self._asking = False
                if error is None and self.active and self._core.leader:
                    self._end()

        return answered

    def _end(self) -> None:
        # What it voted in this term is forgotten: it stays with the leader of the term. The journal
        # first, or a crash in between would leave a member that may vote for somebody else.
        self._core.vote_for_leader()
        self._core.log.flush()
        self._incarnations.recovered()
        log.warning("this member has caught up and takes part again")

    def wants_state(self, now: float) -> bool:
        """Whether to ask for the state (again)."""
        if not self.active or now < self._next_state:
            return False
        self._next_state = now + self._patience
        return True
