"""Elections between members: PreVote, and following higher terms.

`election.py` decides when; here are the messages of PreVote and what they do:

    PreVote {term, last_index, last_term}      would you vote for me in `term`?
    PreVoteReply {term, asked, granted}        `term` is the voter's own
    HigherTerm {term}                          to a leader whose append came from an earlier term

None of them changes a term or a vote by itself, so PreVote's do not wait for the flush.
"""

import random
from collections.abc import Callable

from rusd.raft.commands import is_conf_change
from rusd.raft.core.algorithm import Algorithm
from rusd.raft.core.conf_change import committed_by_conf_changes
from rusd.raft.core.election import ElectionTimer
from rusd.raft.core.outbox import Outbox
from rusd.raft.transport.frames import HigherTerm, PreVote, PreVoteReply


class Campaign:
    """One member's part in elections."""

    def __init__(
        self,
        member: int,
        raft: Algorithm,
        outbox: Outbox,
        timeout: float,
        now: float,
        chance: random.Random,
        *,
        first_soon: bool,
    ) -> None:
        """`timeout`: the election timeout, seconds. `chance` spreads the campaigns. `first_soon`:
        see `ElectionTimer`.
        """
        self._member = member
        self._raft = raft
        self._outbox = outbox
        self._asked_term = 0
        #: Whether this member's votes count (`quarantine.py`).
        self.counts: Callable[[], bool] = lambda: True
        self._timeout = timeout
        self._chance = chance
        self._first_soon = first_soon
        self.start(now)

    def start(self, now: float) -> None:
        """Restart the election timer."""
        self.timer = ElectionTimer(
            self._timeout, self._others(), now, self._chance, first_soon=self._first_soon
        )

    def _others(self) -> int:
        return len(self._raft.membership.voters - {self._member})

    def reconfigured(self) -> None:
        """Use another membership."""
        self.timer.others = self._others()

    def may(self) -> bool:
        """Return whether this member may campaign: it is a voter, is not in quarantine, and its
        membership is at most one ConfChange old (`conf_change.py`).
        """
        raft = self._raft
        raft.raise_commit(committed_by_conf_changes(raft))
        committed = raft.log.entries(raft.applied_index + 1, raft.commit_index + 1)
        changing = any(is_conf_change(command) for command, _, _ in committed)
        return raft.votes and self.counts() and not changing

    def step(self, now: float, reachable: bool) -> None:
        """Request pre-votes if the timer is due. `reachable`: another member is connected."""
        raft, timer = self._raft, self.timer
        if raft.is_leader:
            return
        held = bool(timer.others) and not reachable and timer.hold(now)
        if not held and not timer.due(now):
            return
        # As etcd's pre-candidate: the leader was silent for too long to be called that.
        raft.forget_leader()
        if held or not self.may():
            return
        self._asked_term = raft.term + 1
        if timer.alone():
            raft.campaign()
            return
        last_term, last_index = self._last()
        request = PreVote(self._asked_term, last_index, last_term)
        for member in raft.membership.voters - {self._member}:
            self._outbox.send(member, request)

    def _last(self) -> tuple[int, int]:
        log = self._raft.log
        return log.term_at(log.last_index) or 0, log.last_index

    def sticks_to_leader(self) -> bool:
        """Return whether a healthy leader, perhaps this member, must not be deposed."""
        return self._raft.is_leader or self.timer.hears_leader(self._raft.now)

    def asked(self, member: int, message: PreVote) -> None:
        """Answer a pre-vote request."""
        granted = (
            message.term > self._raft.term
            and self.counts()
            and not self.sticks_to_leader()
            and (message.last_term, message.last_index) >= self._last()
        )
        if granted:
            # Of two that ask each other at once, one must give up, or both elections may fail.
            self.timer.yield_to(self._raft.now, give_up=member > self._member)
        self._outbox.send(member, PreVoteReply(self._raft.term, message.term, granted))

    def answered(self, member: int, message: PreVoteReply) -> None:
        """Handle the answer to a pre-vote request."""
        raft = self._raft
        if message.term > raft.term:
            raft.learn_term(member, message.term)
        elif (
            message.granted
            and message.asked == raft.term + 1 == self._asked_term
            and not self.sticks_to_leader()
            and member in raft.membership.voters
            and self.timer.granted(member)
            and self.may()
        ):
            raft.campaign()

    def higher_term(self, member: int, message: HigherTerm) -> None:
        """Follow the higher term with which a member refused an append."""
        if message.term > self._raft.term:
            self._raft.learn_term(member, message.term)
            self.timer.postpone(self._raft.now)
