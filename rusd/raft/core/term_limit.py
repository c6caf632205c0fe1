"""Limits how far a message may raise this member's term.

Terms only rise and are durable: one message with the largest number would leave no term for the
next election, for good. A member that was away may be many elections behind, so any number that a
cluster can have reached must be accepted at once:

- No message is believed that is more than `LEAP` ahead: 136 years of an election every second.
- More than `STRIDE` ahead is believed once in `PAUSE` seconds. An ignored message is like a lost
  one: the leader's next one, a heartbeat later, says the same.

So the bound of all terms (`frames.MAX_TERM`) is 34 years of leaps away, and no honest cluster
waits.
"""

from rusd.raft.transport.frames import (
    AppendEntries,
    Frame,
    HigherTerm,
    PreVoteReply,
    RequestVote,
)

LEAP = 1 << 32
STRIDE = 1000
PAUSE = 1.0

#: Frames whose term the receiver may take over.
_RAISING = (AppendEntries, RequestVote, PreVoteReply, HigherTerm)


class TermLimit:
    """Limits how far messages raise one member's term."""

    def __init__(self) -> None:
        self._next_leap = float("-inf")

    def allows(self, message: Frame, own: int, now: float) -> bool:
        """Return whether a member in term `own` may handle a message."""
        if not isinstance(message, _RAISING):
            return True
        ahead = message.term - own
        return ahead <= STRIDE or (ahead <= LEAP and now >= self._next_leap)

    def moved(self, before: int, after: int, now: float) -> None:
        """Count a rise of the term from `before` to `after` by a message."""
        if after - before > STRIDE:
            self._next_leap = now + PAUSE
