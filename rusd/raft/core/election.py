"""The time to campaign, and the leader to follow: PreVote and leader stickiness, without I/O.

A member whose timer runs out first asks whether it *would* be elected (PreVote, section 9.6 of the
Raft thesis); it raises the term only if a quorum says yes. Others say no while they hear from a
leader, so a member that returns from a partition does not depose a healthy one.
"""

import random

#: Spread of the campaigns when the leader's connection broke, as parts of the election timeout.
LOST_SOON, LOST_LATE = 0.01, 0.15
#: The same of the first campaign after a start. A full timeout is not needed: PreVote protects a
#: leader there may be.
FIRST_SOON, FIRST_LATE = 0.1, 0.5


class ElectionTimer:
    """One member's election timer and PreVote round. Times are seconds of one monotonic clock."""

    def __init__(
        self,
        timeout: float,
        others: int,
        now: float,
        chance: random.Random,
        *,
        first_soon: bool = True,
    ) -> None:
        """`timeout`: the election timeout T; the timer runs T to 2T. `others`: number of other
        voters. `first_soon`: the first time it runs FIRST_SOON to FIRST_LATE of T.
        """
        self._timeout = timeout
        #: Number of other voters; a change of the membership changes it.
        self.others = others
        self._chance = chance
        self._heard = float("-inf")
        self._granted: set[int] | None = None
        spread = (FIRST_SOON, FIRST_LATE) if first_soon else (1, 2)
        self._deadline = now + chance.uniform(*spread) * timeout if others else now

    def hears_leader(self, now: float) -> bool:
        """Return whether a leader was heard within one election timeout."""
        return now - self._heard < self._timeout

    def heard(self, now: float) -> None:
        """Record a sign of life of the current leader."""
        self._heard = now
        self._granted = None
        self._deadline = now + self._chance.uniform(1, 2) * self._timeout

    def postpone(self, now: float) -> None:
        """Restart the timer with a full timeout: a vote was granted, or this member stepped
        down.
        """
        self._granted = None
        self._deadline = now + self._chance.uniform(1, 2) * self._timeout

    def leader_lost(self, now: float) -> None:
        """Shorten the timer: the leader's connection broke, so it has probably ended."""
        self._heard = float("-inf")
        wait = self._chance.uniform(LOST_SOON, LOST_LATE) * self._timeout
        self._deadline = min(self._deadline, now + wait)

    def hold(self, now: float) -> bool:
        """Postpone a due campaign by a short random time, since no other voter is connected;
        members then do not all campaign at the moment of the first connection. Returns whether it
        was due.
        """
        if now < self._deadline:
            return False
        self._deadline = now + self._chance.uniform(LOST_SOON, LOST_LATE) * self._timeout
        return True

    def yield_to(self, now: float, *, give_up: bool) -> None:
        """Delay the campaign, since another member received a pre-vote and may win. `give_up`: also
        end this member's own round.
        """
        if give_up:
            self._granted = None
        self._deadline = max(self._deadline, now + self._chance.uniform(0.2, 0.4) * self._timeout)

    def expired(self, now: float) -> bool:
        """Return whether `due` or `hold` would be true."""
        return now >= self._deadline

    def due(self, now: float) -> bool:
        """Returns whether it is time to campaign; the timer then restarts."""
        if now < self._deadline:
            return False
        self._deadline = now + self._chance.uniform(1, 2) * self._timeout
        self._granted = set()
        return True

    def granted(self, member: int) -> bool:
        """Count a pre-vote; returns True once, when a quorum has granted it."""
        if self._granted is None:
            return False
        self._granted.add(member)
        return self._quorum()

    def alone(self) -> bool:
        """Return whether no other vote is needed; asked after `due`."""
        return self._quorum()

    def _quorum(self) -> bool:
        assert self._granted is not None
        if 2 * (len(self._granted) + 1) <= self.others + 1:
            return False
        self._granted = None
        return True
