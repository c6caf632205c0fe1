"""Elections between members: asking for pre-votes, granting them, and following higher terms.

`election.py` says when; here are the frames of PreVote and what they do to the core:

    prevote {term, last_index, last_term}      would you vote for me in `term`?
    prevote_reply {term, asked, granted}       `term` is the answering member's own
    term {term}                                to a leader whose append came from an earlier term

None of them changes a term or a vote by itself, so none has to wait for the journal.
"""

import random
from collections.abc import Callable

from rusd.raft.core.conf_change import committed_by_changes
from rusd.raft.core.election import Election
from rusd.raft.core.proposals import is_change
from rusd.raft.core.syncobj import RaftCore
from rusd.raft.transport.frames import Frame, HigherTerm, PreVote, PreVoteReply


class Campaign:
    """One member's part in elections."""

    def __init__(
        self,
        member: int,
        core: RaftCore,
        timeout: float,
        now: float,
        send: Callable[[int, Frame], None],
    ) -> None:
        """`timeout`: the election timeout, seconds."""
        self._member = member
        self._core = core
        self._send = send
        self._asked_term = 0
        #: Whether this member's votes count (`quarantine.py`).
        self.counts: Callable[[], bool] = lambda: True
        self.timer = Election(timeout, self._others(), now, random.Random())

    def _others(self) -> int:
        return len(self._core.membership.voters - {self._member})

    def reconfigured(self) -> None:
        """The core has another membership."""
        self.timer.others = self._others()

    def may(self) -> bool:
        """Whether this member may campaign: it is a voter out of quarantine, and counts by a
        membership that is at most one change old (`changes.py`)."""
        core = self._core
        core.raise_commit(committed_by_changes(core))
        committed = core.log.entries(core.applied_index + 1, core.commit_index + 1)
        changing = any(is_change(command) for command, _, _ in committed)
        return core.votes and self.counts() and not changing

    def step(self, now: float, reachable: bool) -> None:
        """Ask to be elected if it is time. `reachable`: anybody is connected."""
        core, timer = self._core, self.timer
        if core.is_leader:
            return
        held = bool(timer.others) and not reachable and timer.hold(now)
        if not held and not timer.due(now):
            return
        # As etcd's pre-candidate: it was silent for too long to be called the leader.
        core.forget_leader()
        if held or not self.may():
            return
        self._asked_term = core.term + 1
        if timer.alone():
            core.campaign()
            return
        last_term, last_index = self._last()
        request = PreVote(self._asked_term, last_index, last_term)
        for member in core.membership.voters - {self._member}:
            self._send(member, request)

    def _last(self) -> tuple[int, int]:
        log = self._core.log
        return log.term_at(log.last_index) or 0, log.last_index

    def sticks_to_leader(self, now: float) -> bool:
        """True while a healthy leader, perhaps this member, must not be deposed."""
        return self._core.is_leader or self.timer.hears_leader(now)

    def asked(self, member: int, frame: PreVote, now: float) -> None:
        """`prevote`."""
        granted = (
            frame.term > self._core.term
            and self.counts()
            and not self.sticks_to_leader(now)
            and (frame.last_term, frame.last_index) >= self._last()
        )
        if granted:
            # Of two that ask each other at once, one must give up, or both elections may fail.
            self.timer.yield_to(now, give_up=member > self._member)
        self._send(member, PreVoteReply(self._core.term, frame.term, granted))

    def answered(self, member: int, frame: PreVoteReply, now: float) -> None:
        """`prevote_reply`."""
        core = self._core
        if frame.term > core.term:
            core.learn_term(member, frame.term)
        elif (
            frame.granted
            and frame.asked == core.term + 1 == self._asked_term
            and not self.sticks_to_leader(now)
            and member in core.membership.voters
            and self.timer.granted(member)
            and self.may()
        ):
            core.campaign()

    def told_term(self, member: int, frame: HigherTerm, now: float) -> None:
        """`term`."""
        if frame.term > self._core.term:
            self._core.learn_term(member, frame.term)
            self.timer.postpone(now)
