"""Group commit: all proposals of one step become one log entry, or one message to the leader.

    Propose {term, batch}      batch: (origin member, sequence number, payload) each

A batch of another term than the leader's is dropped without an answer. Its sender proposes it again
once an entry of a later term proves that it is lost (and there will be one, for its term has no
leader any more). A refusal would prove nothing: the batch may have come before over a connection
that broke, and been taken.
"""

from rusd.raft.commands import Proposed, encode_entry, split_conf_changes
from rusd.raft.core.algorithm import Algorithm
from rusd.raft.core.commit_notice import CommitNotice
from rusd.raft.core.conf_change import ConfChanges
from rusd.raft.core.outbox import Outbox
from rusd.raft.core.proposals import ForwardedBatches, Proposals, entries_of
from rusd.raft.transport.frames import Propose


class GroupCommit:
    """Forwarding of proposals to the leader, and the leader's appends."""

    def __init__(
        self, raft: Algorithm, proposals: Proposals, outbox: Outbox, notice: CommitNotice
    ) -> None:
        self._raft = raft
        self._notice = notice
        self._proposals = proposals
        self._outbox = outbox
        self._batches = ForwardedBatches()
        self._conf_changes = ConfChanges(raft)
        #: Taken from followers in `_forwarded_term`, not yet in the log.
        self._forwarded: list[Proposed] = []
        self._forwarded_term = 0
        #: The members they came from.
        self._senders: set[int] = set()
        #: (leader, term) that has been sent, in order, everything this member sent in the term.
        self._told: tuple[int, int] | None = None

    def step(self, *, leader_connected: bool, current: bool, paused: bool) -> None:
        """Append waiting proposals to the leader's log, or forward them to the leader. `current`:
        an entry of the current term is applied here. `paused`: leadership is being transferred, so
        nothing is appended.
        """
        raft, proposals = self._raft, self._proposals
        if not raft.is_leader:
            # Taken from others in a term that is over: they propose it again themselves.
            self._forwarded = []
            self._conf_changes.drop()
            if not leader_connected:
                self._told = None
                return
            if self._told != (raft.leader, raft.term):
                # First what a broken connection may have swallowed: the leader takes sequence
                # numbers in their order, and skips what it has.
                self._told = (raft.leader, raft.term)
                self._forward(raft.leader, proposals.sent_in(raft.term))
            if proposals.unsent():
                self._forward(raft.leader, proposals.take(raft.term))
        elif not paused and (proposals.unsent() or self._forwarded or self._conf_changes.waiting):
            own = proposals.take(raft.term) if proposals.unsent() else []
            foreign = self._forwarded if self._forwarded_term == raft.term else []
            self._forwarded = []
            others, changes = split_conf_changes(foreign + own)
            if changes:
                self._conf_changes.add(changes)
            for group in entries_of(others):
                raft.propose(encode_entry(group))
            if self._conf_changes.step(current=current):
                self._senders.update(raft.peers)
            for member in self._senders:
                self._notice.wait(member, raft.log.last_index)
            self._senders.clear()

    def _forward(self, leader: int, batch: list[Proposed]) -> None:
        for group in entries_of(batch):
            self._outbox.send(leader, Propose(self._raft.term, group))

    def receive(self, member: int, message: Propose) -> None:
        """Accept the proposals that a follower forwards."""
        term = self._raft.term
        if not self._raft.is_leader or message.term != term:
            return
        batch = [(member, sequence, payload) for _, sequence, payload in message.batch]
        if self._forwarded_term != term:
            self._forwarded, self._forwarded_term = [], term
        self._forwarded += self._batches.accept(term, batch)
        self._senders.add(member)

    def reconnected(self, member: int) -> None:
        """Send proposals to this member again: its earlier connection may have lost them."""
        if self._told is not None and self._told[0] == member:
            self._told = None
