"""From waiting proposals to log entries: into the leader's log, or in one frame to the leader.

    propose {term, batch}      batch: [origin member, sequence, payload] each

A batch of another term than the leader's is dropped without an answer. Its sender proposes it again
once an entry of a later term proves that it is lost (and there will be one, for its term has no
leader any more). A refusal would prove nothing: over a connection that broke the batch may have
come before, and been taken.
"""

from collections.abc import Callable

from rusd.raft.core.conf_change import Changes
from rusd.raft.core.proposals import (
    Inbox,
    Proposals,
    Proposed,
    encode_entry,
    entries_of,
    split_changes,
)
from rusd.raft.core.syncobj import RaftCore
from rusd.raft.transport.frames import Frame, Propose


class Submission:
    """Both ends of forwarding, and the leader's group commit."""

    def __init__(
        self, core: RaftCore, proposals: Proposals, send: Callable[[int, Frame], None]
    ) -> None:
        self._core = core
        self._proposals = proposals
        self._send = send
        self._taken = Inbox()
        self._changes = Changes(core)
        #: Taken from followers in `_forwarded_term`, not yet in the log.
        self._forwarded: list[Proposed] = []
        self._forwarded_term = 0
        #: The last entry of this leader's log that holds a request of another member.
        self.awaited_index = 0
        #: True while leadership is being handed on: nothing is added to the log.
        self.paused = False
        #: (leader, term) that has been sent, in order, everything this member sent in the term.
        self._told: tuple[int, int] | None = None

    def step(self, *, leader_connected: bool, current: bool) -> None:
        """Everything that waits becomes entries of the leader's log, or goes to the leader.
        `current`: an entry of the core's term is applied here."""
        core, proposals = self._core, self._proposals
        if not core.is_leader:
            # Taken from others in a term that is over: they propose them again themselves.
            self._forwarded = []
            self._changes.drop()
            if not leader_connected:
                self._told = None
                return
            if self._told != (core.leader, core.term):
                # First what a broken connection may have swallowed: the leader takes sequence
                # numbers in their order, and skips what it has.
                self._told = (core.leader, core.term)
                self._forward(core.leader, proposals.sent_in(core.term))
            if proposals.unsent():
                self._forward(core.leader, proposals.take(core.term))
        elif not self.paused:
            own = proposals.take(core.term) if proposals.unsent() else []
            foreign = self._forwarded if self._forwarded_term == core.term else []
            self._forwarded = []
            others, changes = split_changes(foreign + own)
            if changes:
                self._changes.add(changes)
            for group in entries_of(others):
                index = core.propose(encode_entry(group))
                if foreign:
                    self.awaited_index = index
            if self._changes.step(current=current):
                self.awaited_index = core.log.last_index

    def _forward(self, leader: int, batch: list[Proposed]) -> None:
        for group in entries_of(batch):
            self._send(leader, Propose(self._core.term, group))

    def received(self, member: int, frame: Propose, now: float) -> None:
        """`propose`."""
        term = self._core.term
        if not self._core.is_leader or frame.term != term:
            return
        batch = [(member, sequence, payload) for _, sequence, payload in frame.batch]
        if self._forwarded_term != term:
            self._forwarded, self._forwarded_term = [], term
        self._forwarded += self._taken.accept(term, batch)

    def reconnected(self, member: int) -> None:
        """What an earlier connection of this member may have swallowed has to be sent again."""
        if self._told is not None and self._told[0] == member:
            self._told = None
