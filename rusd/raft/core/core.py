"""`Core`: one Raft member as a function `(now, inbox) -> Ready`, without I/O.

What happens between two steps is only noted (`propose`, `read`, `connected`, `apply_membership`);
`step` handles the messages that came, moves the algorithm on, and returns the work that follows
from it. The driver does that work (`driver.py`), tells what was applied (`applied`), and steps
again when something new was noted, when a message comes that cannot wait (`can_wait`), at
`Ready.deadline`, or at once while `has_work`.

Order within a step:

1. the inbox, message by message: term limit, quarantine, leader stickiness, then the algorithm
2. tick: commits are counted, before anything is appended (`ready.py` says why)
3. election, quarantine, leadership transfer
4. proposals become an entry of the leader's log, or a message to the leader; appends go out
5. linearizable reads are asked about, and released
6. what this changed: role, deadlines
"""

import random
from collections.abc import Callable, Collection, Sequence
from typing import Any

from rusd.base.logs import LimitedLog, get_logger
from rusd.raft.config import RaftConfig
from rusd.raft.core.algorithm import Algorithm, BrokenMessage, Sent
from rusd.raft.core.campaign import Campaign
from rusd.raft.core.commit_notice import CommitNotice
from rusd.raft.core.committed import CommittedEntries
from rusd.raft.core.group_commit import GroupCommit
from rusd.raft.core.membership import ActiveMembership
from rusd.raft.core.outbox import Outbox
from rusd.raft.core.proposals import Proposals
from rusd.raft.core.quarantine import Quarantine
from rusd.raft.core.ready import Answer, Events, Ready
from rusd.raft.core.term_limit import TermLimit
from rusd.raft.core.transfer import LeadershipTransfer, Transfer
from rusd.raft.errors import LeaderFailed, RequestTimeout, Stopped
from rusd.raft.ports import Membership, Position, Role
from rusd.raft.read.linearizable import LinearizableReads
from rusd.raft.read.waiting import Read
from rusd.raft.transport.frames import (
    AppendEntries,
    AppendReply,
    Frame,
    HigherTerm,
    PreVote,
    PreVoteReply,
    Propose,
    ReadIndexReply,
    ReadIndexRequest,
    ReadRound,
    ReadRoundReply,
    RequestVote,
    Snapshot,
    SnapshotBegin,
    SnapshotChunk,
    SnapshotEnd,
    SnapshotReply,
    SnapshotRequest,
    TimeoutNow,
    VoteGranted,
)

log = get_logger(__name__)
ignored = LimitedLog(log)

#: Committed but unapplied entries above which new proposals are refused (etcd's limit).
MAX_APPLY_LAG = 5000
#: Seconds between looks at the deadlines of calls.
DEADLINES = 0.25
# The constructor of a NamedTuple is Python code and takes twice as long.
_read = tuple.__new__


class Core:
    """One member of the cluster."""

    def __init__(
        self,
        config: RaftConfig,
        raft: Algorithm,
        applied: Position,
        *,
        now: float,
        chance: random.Random,
        first_number: Callable[[], int],
        snapshot_streams: Collection[int] = (),
        in_quarantine: bool = False,
    ) -> None:
        """`applied`: the state machine's position. `now`: seconds, as in `step`. `first_number`
        returns where this life's sequence numbers begin. `snapshot_streams`: the members that are
        being sent a snapshot, kept up to date by its owner.
        """
        member = config.member_id
        self._config = config
        self._raft = raft
        self._outbox = Outbox()
        self._proposals = Proposals(member, first_number())
        self._committed = CommittedEntries(member, self._proposals)
        #: Term of the last applied entry.
        self._applied_term = applied.term
        raft.reconfigure(config.membership)
        self._campaign = Campaign(
            member,
            raft,
            self._outbox,
            config.election,
            now,
            chance,
            first_soon=config.first_election_soon,
        )
        self._campaign.counts = lambda: not self._quarantine.active
        self._notice = CommitNotice()
        self._reads = LinearizableReads(raft, self._outbox.send, self._notice.wait, first_number())
        patience = config.request_timeout / 5
        self._quarantine = Quarantine(raft, self._reads, patience, active=in_quarantine)
        self._membership = ActiveMembership(
            config.membership, member, raft, self._campaign, self._reads, self._outbox
        )
        self._group_commit = GroupCommit(raft, self._proposals, self._outbox, self._notice)
        self._transfer = LeadershipTransfer(
            raft, self._outbox, election=config.election, timeout=config.request_timeout
        )
        self._term_limit = TermLimit()
        self._role = Role(0, raft.term, False)
        #: No entry is accepted before the snapshot of the cluster this member joins.
        self.joining = config.joining
        self._streams = snapshot_streams
        self._snapshot: list[tuple[int, Snapshot]] = []
        self._wants_snapshot: set[int] = set()
        self._broken: list[tuple[int, str]] = []
        self._answers: list[Answer] = []
        self._next_deadlines = 0.0
        self._next_reminder = 0.0
        raft.may_campaign = self._campaign.may
        #: Frames that are handled here: type -> (member, message).
        self._handlers: dict[type[Frame], Callable[[int, Any], None]] = {
            AppendEntries: self._on_append,
            AppendReply: self._on_reply,
            RequestVote: self._on_request_vote,
            VoteGranted: self._on_reply,
            TimeoutNow: self._on_timeout_now,
            Propose: self._group_commit.receive,
            ReadRound: self._on_read_round,
            ReadRoundReply: self._reads.round_confirmed,
            ReadIndexRequest: self._reads.requested,
            ReadIndexReply: self._reads.replied,
            PreVote: self._campaign.asked,
            PreVoteReply: self._campaign.answered,
            HigherTerm: self._campaign.higher_term,
            SnapshotRequest: self._on_snapshot_request,
            SnapshotReply: self._on_snapshot_reply,
            SnapshotBegin: self._on_snapshot,
            SnapshotChunk: self._on_snapshot,
            SnapshotEnd: self._on_snapshot,
        }

    # State

    @property
    def term(self) -> int:
        """The current term."""
        return self._raft.term

    @property
    def leader(self) -> int:
        """Member id of the leader, 0 if none is known."""
        return self._raft.leader

    @property
    def is_leader(self) -> bool:
        """Whether this member leads the current term."""
        return self._raft.is_leader

    @property
    def commit_index(self) -> int:
        """Highest index known to be committed."""
        return self._raft.commit_index

    @property
    def applied_index(self) -> int:
        """Highest index the state machine has applied."""
        return self._raft.applied_index

    @property
    def applied_term(self) -> int:
        """Term of the entry at `applied_index`."""
        return self._applied_term

    @property
    def membership(self) -> Membership:
        """The current members."""
        return self._raft.membership

    @property
    def peers(self) -> Collection[int]:
        """All other members, voters and learners."""
        return self._raft.peers

    @property
    def connected_peers(self) -> Collection[int]:
        """Those with a connection."""
        return self._raft.connected_peers

    @property
    def in_quarantine(self) -> bool:
        """Whether this member neither votes nor takes entries until it has caught up
        (`quarantine.py`).
        """
        return self._quarantine.active

    @property
    def waiting_proposals(self) -> int:
        """Number of proposals that calls here wait for."""
        return len(self._proposals.waiting)

    @property
    def proposals_failed(self) -> int:
        """Number of this member's proposals that failed."""
        return self._proposals.failed

    @property
    def reads(self) -> LinearizableReads:
        """This member's linearizable reads, with their counts."""
        return self._reads

    @property
    def deadline(self) -> float | None:
        """See `Ready.deadline`."""
        return self._notice.deadline

    def match_index(self, member: int) -> int:
        """Returns the highest index known to be on another member's disk (leader only)."""
        return self._raft.match_index(member)

    @property
    def has_work(self) -> bool:
        """Whether another step is needed at once."""
        raft = self._raft
        return (
            raft.commit_index > raft.applied_index
            or raft.has_messages
            or self._membership.changed
            or bool(self._answers)
            or self._reads.more
            or (self._quarantine.active and self._quarantine.has_answer)
            or not self._outbox.empty
            # A lone leader counts its entries as committed in the step behind their flush.
            or (
                len(raft.membership.voters) == 1
                and raft.commit_index < raft.log.last_index
                and raft.is_leader
            )
        )

    def confirm(self, member: int, message: ReadRound) -> ReadRoundReply | None:
        """Returns the answer to a leader that asks whether this member follows it, or None if it
        follows another one or none. Needs no step: the answer says only that this member had not
        voted in a later term when it was asked.
        """
        if self._quarantine.active or not self._reads.follows(member, message):
            return None
        return ReadRoundReply(message.term, message.number)

    def due(self, now: float) -> bool:
        """Return whether time alone gives a step something to do: a heartbeat, a campaign, a look
        at deadlines. All else begins with an event, for which the driver steps anyway.
        """
        if now >= self._next_deadlines or self._transfer.active or self._quarantine.active:
            return True
        raft = self._raft
        return raft.heartbeat_due(now) if raft.is_leader else self._campaign.timer.expired(now)

    def can_wait(self, member: int, message: Frame) -> bool:
        """Return whether a message needs no step of its own: a reply after those that made a
        quorum. It may stay in the inbox until the next step. A learner's reply may not: no quorum
        needs it, but a promotion checks the learner's progress.
        """
        raft = self._raft
        if isinstance(message, AppendReply):
            late = not message.success or message.next_index <= raft.commit_index + 1
            if message.reset or not late or self._transfer.active:
                return False
        elif not isinstance(message, ReadRoundReply) or self._reads.awaits(message.number):
            return False
        return member not in raft.membership.learners

    # Calls: noted, and taken up by the next step

    def overloaded(self) -> bool:
        """Return whether a new proposal must be refused."""
        raft = self._raft
        return self._proposals.full() or raft.commit_index - raft.applied_index > MAX_APPLY_LAG

    def propose(self, payload: bytes, done: Callable[[object], None], deadline: float) -> None:
        """Replicate a payload; `done` receives the state machine's result, or an exception."""
        self._proposals.add(payload, done, deadline)

    def read(self, done: Callable[[object], None], deadline: float) -> bool:
        """Start a linearizable read; `done` receives None once everything acknowledged before is
        applied here, or an exception. Returns False if too many reads wait.
        """
        if self._reads.full:
            return False
        self._reads.add(_read(Read, (done, deadline)))
        return True

    def transfer(self, target: int, done: Callable[[object], None], now: float) -> Transfer:
        """Transfer leadership to a voter; `done` receives None or an exception."""
        return self._transfer.begin(target, done, now)

    def abandon_transfer(self, transfer: Transfer) -> None:
        """Forget a transfer whose caller was cancelled."""
        self._transfer.abandon(transfer)

    def stop(self) -> list[Answer]:
        """Return a Stopped error for every call that waits."""
        return [
            *self._proposals.fail(Stopped),
            *self._reads.fail(Stopped),
            *self._transfer.fail(Stopped),
        ]

    def start(self, now: float) -> None:
        """Start the election timer."""
        self._campaign.start(now)

    # Events

    def connected(self, member: int) -> None:
        """Record a new connection to a member."""
        if member in self._raft.peers:
            self._raft.connected(member)
            self._group_commit.reconnected(member)

    def disconnected(self, member: int, now: float) -> None:
        """Record the end of a member's connection."""
        if member in self._raft.peers:
            self._raft.disconnected(member)
        if self._raft.leader == member:
            self._campaign.timer.leader_lost(now)
            self._reads.leader_changed(now)

    def apply_membership(self, membership: Membership) -> None:
        """Use the membership of an applied ConfChange, from the next entry on."""
        self._membership.apply(membership)

    def meet(self, membership: Membership, index: int) -> None:
        """Take the member list that peers answered; not older than entry `index`."""
        self._membership.meet(membership, index)

    def begin_quarantine(self) -> None:
        """Begin the quarantine: peers know that this member's disk has lost acknowledged
        entries.
        """
        self._quarantine.begin()

    def recovered(self) -> None:
        """End the quarantine: `Ready.recovered` is durable."""
        self._quarantine.end()

    def applying(self, last: int) -> None:
        """Record that the state machine is applying the entries up to `last`, in slices."""
        self._committed.hold(last)

    def applied(
        self, reached: Position, results: Sequence[object]
    ) -> tuple[list[Answer], list[Answer]]:
        """Record that entries up to `reached` are applied. Returns the answers that follow, and the
        reads that waited for it.
        """
        answers = self._committed.resolve(reached, results)
        self._raft.applied(reached.index)
        if reached.term != self._applied_term:
            self._applied_term = reached.term
            self._proposals.lost_before(reached.term)
        return answers, self._reads.release(reached.index)

    def put_back(self, reads: Sequence[Answer]) -> None:
        """Take reads back that were not served; the next step returns them again."""
        self._reads.put_back(reads)

    def installed(self, last: Position) -> None:
        """Continue after a snapshot that ends at `last` replaced state machine and log."""
        self._raft.installed(last)
        self._committed.drop()
        self._applied_term = last.term
        self.joining = False
        # Which of the waiting proposals the snapshot holds cannot be known.
        self._answers += self._proposals.fail(LeaderFailed, lambda waiting: waiting.term > 0)

    def acknowledge_snapshot(self, member: int, *, installed: bool) -> None:
        """Acknowledge a stream of the leader that has ended, so that the leader goes on behind it.

        A tail that the log may have kept behind the snapshot is not known to be the leader's.
        """
        raft = self._raft
        proven = raft.applied_index if installed else raft.commit_index
        holds = installed and not self._quarantine.active
        reply = AppendReply(raft.term, proven + 1, reset=True, success=holds)
        self._outbox.send_after_flush(member, reply)

    # A step

    def step(self, now: float, inbox: Sequence[tuple[int, Frame]]) -> Ready:
        """Handle messages (of members, in order) and advance; returns the work to do."""
        raft, reads = self._raft, self._reads
        raft.now = now
        for member, message in inbox:
            if member in raft.peers:
                self._receive(member, message, now)
        raft.tick()
        if not raft.is_leader:
            self._campaign.step(now, reachable=bool(raft.connected_peers))
        recovered = self._quarantine.active and self._quarantine.step()
        paused = False
        if self._transfer.active:
            self._answers += self._transfer.step(now)
            paused = self._transfer.paused(now)
        leads = raft.is_leader
        leader_connected = not leads and raft.leader in raft.connected_peers
        current = self._applied_term == raft.term
        self._group_commit.step(leader_connected=leader_connected, current=current, paused=paused)
        if leads:
            self._replicate(now)
        else:
            self._notice.deadline = None
        reads.step(now, current=current, leader_connected=leader_connected)
        if leads and now >= self._next_reminder:
            self._next_reminder = now + self._config.heartbeat
            reads.remind()
        if now >= self._next_deadlines:
            self._next_deadlines = now + DEADLINES
            self._expire(now)
        released = reads.release(raft.applied_index)
        role, lost = self._role_change(now)
        raft.transferring = False
        return self._ready(role, lost, released, recovered)

    def _receive(self, member: int, message: Frame, now: float) -> None:
        raft = self._raft
        before = raft.term
        if not self._term_limit.allows(message, before, now):
            ignored.warning("ignored a term far ahead", {"peer": f"{member:x}"})
            return
        handler = self._handlers.get(type(message))
        if handler is not None:
            try:
                handler(member, message)
            except BrokenMessage as broken:
                self._broken.append((member, str(broken)))
        if raft.term != before:
            self._term_limit.moved(before, raft.term, now)

    def _on_read_round(self, member: int, message: ReadRound) -> None:
        reply = self.confirm(member, message)
        if reply is not None:
            self._outbox.send(member, reply)

    def _on_snapshot_request(self, member: int, message: SnapshotRequest) -> None:
        raft = self._raft
        if raft.is_leader and message.term == raft.term:
            raft.heard_from(member)
            self._wants_snapshot.add(member)

    def _on_snapshot_reply(self, member: int, message: SnapshotReply) -> None:
        self._raft.heard_from(member)

    def _on_snapshot(self, member: int, message: Snapshot) -> None:
        if self._raft.leader == member:
            self._snapshot.append((member, message))
        else:
            # This member missed its heartbeats for a while. What is not taken has to be sent again.
            self._outbox.send_after_flush(member, SnapshotReply(message.stream, -1))

    def _on_reply(self, member: int, message: AppendReply | VoteGranted) -> None:
        self._raft.receive(member, message)

    def _on_append(self, member: int, message: AppendEntries) -> None:
        raft = self._raft
        if message.term < raft.term:
            self._outbox.send_after_flush(member, HigherTerm(raft.term))
            return
        message = self._without_entries(member, message)
        if raft.receive(member, message) and raft.leader == member:
            # (Its connection may have ended since: then it is probably gone.)
            if member in raft.connected_peers:
                self._campaign.timer.heard(raft.now)
            if message.is_heartbeat:
                # PySyncObj says nothing to this; the leader counts replies (CheckQuorum).
                alive = AppendReply(raft.term, 1, reset=False, success=False)
                self._outbox.send_after_flush(member, alive)

    def _on_request_vote(self, member: int, message: RequestVote) -> None:
        raft, before = self._raft, self._raft.term
        if self._quarantine.active:
            return
        if message.term > before and not message.transfer:
            if self._campaign.sticks_to_leader():
                return  # a healthy leader is not deposed
        elif raft.repeats_vote(member, message.term):
            self._outbox.send_after_flush(member, VoteGranted(message.term))
        if raft.receive(member, message) and (raft.term > before or raft.voted_for(member)):
            self._campaign.timer.postpone(raft.now)

    def _on_timeout_now(self, member: int, message: TimeoutNow) -> None:
        if self._raft.receive(member, message):
            self._raft.transferring = True

    def _without_entries(self, member: int, append: AppendEntries) -> AppendEntries:
        """A member that joins has no state, and may not build one from the log's beginning either:
        the first members wrote their membership into the state before the first entry. It and a
        member in quarantine ask for a snapshot and take no entries.
        """
        needs = self.joining or self._quarantine.active
        if not needs or append.is_heartbeat:
            return append
        if self.joining or self._quarantine.wants_snapshot(self._raft.now):
            self._outbox.send_after_flush(member, SnapshotRequest(append.term))
        return AppendEntries(append.term, 0)

    def _replicate(self, now: float) -> None:
        """Send new entries, and an advanced commit index, as leader."""
        raft, notice = self._raft, self._notice
        if not raft.peers:
            notice.deadline = None
        elif raft.log.last_index == raft.log.durable_index:
            for member in notice.recipients(raft.peers, raft.commit_index, now):
                raft.send_append(member)
        else:
            notice.sent(raft.commit_index)
            raft.send_appends()

    def _role_change(self, now: float) -> tuple[Role | None, bool]:
        """Returns the role if it changed, and whether leadership was lost with it."""
        raft, was = self._raft, self._role
        leader, term, leads = raft.leader, raft.term, raft.is_leader
        if leader == was.leader and term == was.term and leads == was.leads:
            return None, False
        self._role = role = Role(leader, term, leads)
        lost = was.leads and (not role.leads or role.term != was.term)
        if lost:
            self._reads.leadership_lost()
            self._campaign.timer.postpone(now)
        self._reads.leader_changed(now)
        return role, lost

    def _expire(self, now: float) -> None:
        error = RequestTimeout if self._raft.leader else LeaderFailed
        self._answers += self._proposals.fail(error, lambda waiting: waiting.deadline <= now)
        self._answers += self._reads.expire(now, error)

    def _ready(
        self, role: Role | None, lost: bool, reads: Sequence[Answer], recovered: bool
    ) -> Ready:
        raft, outbox = self._raft, self._outbox
        if raft.has_messages:
            self._collect(raft.take_messages())
        entries = () if self._committed.applying else raft.next_entries()
        ready = Ready(
            appends=outbox.appends,
            messages=outbox.messages,
            flush=raft.log.dirty,
            flush_first=not raft.is_leader,
            after_flush=outbox.after_flush,
            reads=reads,
            answers=self._answers,
            entries=self._committed.take(entries) if entries else (),
            events=self._events(role, lost, recovered),
            deadline=self._notice.deadline,
        )
        outbox.clear()
        if self._answers:
            self._answers = []
        return ready

    def _events(self, role: Role | None, lost: bool, recovered: bool) -> Events | None:
        changed = role is not None or recovered or self._membership.changed
        if not (changed or self._wants_snapshot or self._snapshot or self._broken):
            return None
        events = Events(
            recovered=recovered,
            membership=self._membership.take(),
            leadership_lost=lost,
            # (It may have lost leadership behind the message that asked.)
            snapshots=self._wants_snapshot if self._raft.is_leader else (),
            snapshot=self._snapshot,
            broken=self._broken,
            role=role,
        )
        self._wants_snapshot, self._snapshot, self._broken = set(), [], []
        return events

    def _collect(self, sent: Sent) -> None:
        outbox = self._outbox
        if not self._streams:
            outbox.appends += sent.appends
        else:
            for member, append in sent.appends:
                if member in self._streams and not append.is_heartbeat:
                    # It can use no entries before the snapshot; this keeps its timer still.
                    append = AppendEntries(append.term, 0)
                outbox.appends.append((member, append))
        outbox.after_flush += sent.replies
        self._wants_snapshot.update(sent.snapshots)
