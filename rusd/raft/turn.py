"""One Raft member: the loop turn that drives the core, and what the rooms above call.

All work of a moment (frames that came in, new proposals and reads, a timer) is done in one *turn*,
whose order is what makes it safe:

 1  frames in, through the filters, to PySyncObj; answers are only queued
 2  a follower's acknowledgement of entries goes first: flush, then send (as 6 and 7)
 3  tick: count commits
 4  propose: what was submitted since the last turn becomes one entry, or one frame to the leader;
    send appends, commits, forwarded proposals and reads: they assert nothing about this member's
    disk
 5  apply what is committed as one storage write, resolve the waiting calls
 6  flush the journal: term, vote, truncation and entries in one write and one fdatasync
 7  send acknowledgements and votes, which assert what step 6 made durable

A leader's own apply and fdatasync thus overlap its followers' work. Its fdatasync still counts only
when it is done: an acknowledgement of an entry can be read in a later turn at the earliest.
Proposals come after the tick for the same reason, else a cluster of one would commit what is not
durable yet.

An exception in a turn leaves an unknown state behind: the node stops at once, sends nothing more,
and `wait_failed` raises it, which ends the process.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from rusd.base.logs import LimitedLog, get_logger
from rusd.raft.config import RaftConfig
from rusd.raft.core.apply import Applier
from rusd.raft.core.campaign import Campaign
from rusd.raft.core.clock import Clock
from rusd.raft.core.commit_notice import Announcing
from rusd.raft.core.filters import Broken, Filters
from rusd.raft.core.messages import message_of
from rusd.raft.core.outbox import Outgoing
from rusd.raft.core.proposals import Proposals
from rusd.raft.core.quarantine import Quarantine
from rusd.raft.core.reconfiguration import Reconfiguring, others
from rusd.raft.core.submission import Submission
from rusd.raft.core.syncobj import RaftCore
from rusd.raft.core.term_limit import Terms
from rusd.raft.errors import LeaderFailed, RequestTimeout, Stopped
from rusd.raft.log.compaction import Compaction
from rusd.raft.log.journal import Journal
from rusd.raft.ports import Describe, Machine, Membership, RoleListener, undescribed
from rusd.raft.read.messages import Reading
from rusd.raft.snapshots.install import Installing
from rusd.raft.snapshots.streams import CatchUp
from rusd.raft.transport.frames import (
    AppendEntries,
    AppendReply,
    Frame,
    HelloRefused,
    HigherTerm,
    PeerRequest,
    PeerResponse,
    PreVote,
    PreVoteReply,
    Propose,
    RaftFrame,
    ReadIndexReply,
    ReadIndexRequest,
    ReadRound,
    ReadRoundReply,
    Removed,
    RequestVote,
    SnapshotBegin,
    SnapshotChunk,
    SnapshotEnd,
    SnapshotReply,
    SnapshotRequest,
    TimeoutNow,
    VoteGranted,
)
from rusd.raft.transport.handshake import Handshake
from rusd.raft.transport.incarnations import Incarnations, Mark
from rusd.raft.transport.peers import Peers
from rusd.raft.transport.requests import Asks

log = get_logger(__name__)
suspicions = LimitedLog(log)

#: Seconds between turns that nothing else caused.
TICK = 0.02
#: Seconds between looks at deadlines.
DEADLINES = 0.25
#: Calls waiting here up to which the journal is flushed on the loop itself: quicker for one client.
#: With more, a thread does it if the disk is slow, and what arrives meanwhile shares the next entry
#: and flush. Of a disk that needs no more than `FLUSH_SHORT` seconds the loop is quicker as well.
FLUSH_INLINE = 2
FLUSH_SHORT = 0.002


class Turns:
    """The moving part of a member: everything between the peers' frames and the machine."""

    def __init__(
        self, config: RaftConfig, machine: Machine, describe: Describe = undescribed
    ) -> None:
        """Opens the journal: JournalLocked, JournalCorrupt. `describe`: for errors of handlers."""
        self.config = config
        self.member_id = config.member_id
        self._machine = machine
        membership = config.membership
        voters = membership.voters - {config.member_id}
        self._journal = Journal(
            config.wal_directory or config.directory / "wal", fsync=not config.unsafe_no_fsync
        )
        self._proposals = Proposals(config.member_id)
        self._applier = Applier(config.member_id, machine, self._proposals)
        # The log may be cut to what the state holds, which therefore must be there to stay.
        machine.sync()
        self._core = RaftCore(
            config.member_id,
            voters,
            self._journal,
            machine.positions(),
            self._applier,
            heartbeat=config.heartbeat,
            # CheckQuorum. (etcd's leader looks once per election timeout: 1 to 2 of them.)
            quorum_timeout=config.election,
        )
        self._core.reconfigure(membership)
        #: What all timeouts of this member are measured by.
        self.clock = Clock(
            self._monotonic, max(config.election / 4, 2 * TICK), self._core.count_no_silence
        )
        self._filters = Filters(self._core)
        self._incarnations = Incarnations(config.directory)
        self._handshake = Handshake(
            config.member_id,
            config.cluster_id,
            self._incarnations,
            mark=lambda: Mark(self._core.term, self._journal.last_index),
            joining=lambda: self._installing.joining,
        )
        self._handshake.acknowledged = self._acknowledged
        self._handshake.on_older = self._on_older
        self._peers = Peers(
            config.member_id,
            config.cluster_id,
            others(membership, config.member_id),
            handshake=self._handshake,
            on_frames=self._received,
            on_connected=self._connected,
            on_lost=self._lost,
            fail=self._die,
        )
        self._outgoing = Outgoing(self._core, self._peers, lambda: self.applied_index)
        self._send = self._outgoing.send
        self._catchup = CatchUp(config.directory / "snapshots", machine, self._send, self._die)
        self._asks = Asks(self._send, self._die, describe)
        self._submission = Submission(self._core, self._proposals, self._send)
        self._reading = Reading(self._core, self._send, self._outgoing.broadcast)
        self._compaction = Compaction(config, machine, self._journal, self._catchup.lowest_index)
        self._quarantine = Quarantine(
            self._core, self._incarnations, self._reading, config.request_timeout / 5
        )
        self._installing = Installing(
            self._core,
            machine,
            self._catchup,
            self._applier,
            self._compaction,
            self._proposals,
            self._outgoing,
            self._quarantine,
            joining=config.joining,
        )
        self._reconfiguring = Reconfiguring(
            membership,
            config.cluster_id,
            self._core,
            self._peers,
            self._outgoing,
            self._catchup,
            self._asks,
            self._reading,
            self.clock.now,
            self._handshake,
        )
        self._inbox: list[tuple[int, Frame]] = []
        self._terms = Terms()
        self._listeners: list[RoleListener] = []
        self._role = (0, self._core.term, False)
        self._timer: asyncio.TimerHandle | None = None
        self._scheduled = False
        # A thread of its own: a flush must not wait behind long work in the shared ones.
        self._flusher = ThreadPoolExecutor(1, thread_name_prefix="journal")
        #: The flush that runs in it; turns wait for it.
        self._flushing: asyncio.Future[bool] | None = None
        self._begun = self._stopped = False
        self._announcing = Announcing()
        self._announcer: asyncio.TimerHandle | None = None
        self._next_deadlines = 0.0
        self._next_reask = 0.0
        #: Called when another member says that this one was removed. That is no proof: ask around.
        self.on_said_removed: Callable[[], None] = lambda: None

    @property
    def leader_id(self) -> int:
        """Member id of the leader, 0 if none is known."""
        return self._core.leader

    @property
    def term(self) -> int:
        return self._core.term

    @property
    def is_leader(self) -> bool:
        return self._core.is_leader

    @property
    def is_learner(self) -> bool:
        return self.member_id in self._core.membership.learners

    @property
    def commit_index(self) -> int:
        return self._core.commit_index

    @property
    def applied_index(self) -> int:
        return self._core.applied_index

    # Life

    def _monotonic(self) -> float:
        """As PySyncObj's, and never the loop's, which stands still during a callback."""
        return time.monotonic()

    def _begin(self) -> None:
        """The loop runs: from now on there is time."""
        self._begun = True
        self._loop = asyncio.get_running_loop()
        self._failed: asyncio.Future[None] = self._loop.create_future()
        self._campaign = Campaign(
            self.member_id, self._core, self.config.election, self.clock.now(), self._send
        )
        self._campaign.counts = lambda: not self._quarantine.active
        self._handlers = self._all_handlers()
        self._filters.may_campaign = self._campaign.may
        self._reconfiguring.campaign = self._campaign
        if not self._installing.joining:
            self._reconfiguring.tell()
        self._journal.flush()

    def _run(self) -> None:
        self._timer = self._loop.call_later(TICK, self._on_timer)
        self._wake()

    def _halt(self) -> None:
        self._stopped = True
        for timer in (self._timer, self._announcer):
            if timer is not None:
                timer.cancel()
        self._proposals.fail(Stopped)
        self._reading.fail(Stopped)
        self._asks.stop()

    def _die(self, error: BaseException) -> None:
        log.critical("Raft cannot go on", exc_info=error)
        self._halt()
        if not self._failed.done():
            self._failed.set_exception(error)

    # The turn

    def _wake(self) -> None:
        if not (self._scheduled or self._stopped or self._flushing):
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _on_timer(self) -> None:
        if not self._stopped:
            self.clock.now()  # also while a flush keeps turns from running
            self._timer = self._loop.call_later(TICK, self._on_timer)
            self._wake()

    def _turn(self) -> None:
        self._scheduled = False
        if self._stopped or self._flushing:
            # (An answer given within a turn may have asked for this one before the turn handed the
            # journal to the thread; another follows the flush.)
            return
        try:
            now = self.clock.now()
            inbox, self._inbox = self._inbox, []
            if inbox:
                self._peers.handled()
            for member, frame in inbox:
                if member in self._core.peers:
                    self._handle(member, frame, now)
            self._acknowledge_first(now)
            self._core.tick(apply=False)
            connected = self._peers.connected()
            self._campaign.step(now, reachable=bool(connected))
            leader_connected = self._core.leader in connected
            self._quarantine.step(now)
            current = self._applier.term == self._core.term
            self._submission.step(leader_connected=leader_connected, current=current)
            self._replicate(now)
            self._reading.step(now, current=current, leader_connected=leader_connected)
            self._outgoing.early(self._catchup, now)
            self._core.apply()
            if self._journal.dirty and self._flush_is_long():
                self._flushing = self._loop.run_in_executor(self._flusher, self._journal.flush)
                self._flushing.add_done_callback(self._flushed)
            else:
                self._journal.flush()
                self._finish()
        except Exception as error:  # noqa: BLE001
            # Ends the node: its state is unknown.
            self._die(error)

    def _acknowledge_first(self, now: float) -> None:
        """A leader waits for a follower's acknowledgement, and nobody for what else is done in
        this turn: what was committed earlier is applied after it."""
        if (
            self._journal.dirty
            and not self._core.is_leader
            and not self._filters.transferring
            and not self._flush_is_long()
        ):
            self._outgoing.early(self._catchup, now)
            self._journal.flush()
            self._send_late()

    def _flush_is_long(self) -> bool:
        """Whether others have something to do meanwhile. A cluster of one has nobody to overlap
        its flush with but the thread."""
        crowded = len(self._proposals.waiting) > FLUSH_INLINE
        return crowded and (not self._core.peers or self._journal.flush_seconds > FLUSH_SHORT)

    def _flushed(self, flushing: asyncio.Future[bool]) -> None:
        """The thread's flush is done; no turn ran meanwhile, so the journal was its alone."""
        self._flushing = None
        if self._stopped or flushing.cancelled():
            return
        try:
            flushing.result()
            self._finish()
        except Exception as error:  # noqa: BLE001
            # Ends the node: its state is unknown.
            self._die(error)
        else:
            self._wake()

    def _finish(self) -> None:
        """The end of a turn, once its journal is durable."""
        self._send_late()
        self._after(self.clock.now())

    def _handle(self, member: int, frame: Frame, now: float) -> None:
        core = self._core
        before = core.term
        if not self._terms.believes(frame, before, now):
            suspicions.warning("ignored a term far ahead", {"peer": f"{member:x}"})
        elif isinstance(frame, RaftFrame):
            try:
                self._handle_raft(member, frame, now)
            except Broken as broken:
                self._peers.break_off(member, str(broken))
        else:
            self._handlers[type(frame)](member, frame, now)
        self._terms.moved(before, core.term, now)

    def _handle_raft(self, member: int, frame: RaftFrame, now: float) -> None:
        core, term = self._core, frame.term
        match frame:
            case RequestVote() if self._quarantine.active:
                return
            case AppendEntries() if term < core.term:
                self._outgoing.later(member, HigherTerm(core.term))
            case AppendEntries():
                frame = self._installing.withhold(member, frame, now)
            case RequestVote() if term > core.term and not frame.transfer:
                if self._campaign.sticks_to_leader(now):
                    return  # a healthy leader is not deposed
            case RequestVote() if self._filters.repeats_vote(member, term):
                self._outgoing.later(member, VoteGranted(term))
        message = self._filters.incoming(member, message_of(frame))
        if message is None:
            return
        before = core.term
        core.link.deliver(core.peers[member], message)
        self._filters.delivered()
        if isinstance(frame, AppendEntries) and core.leader == member:
            self._campaign.timer.heard(now)
            if frame.is_heartbeat:
                # PySyncObj says nothing to this; the leader counts who is there (CheckQuorum).
                alive = AppendReply(core.term, 1, reset=False, success=False)
                self._outgoing.later(member, alive)
        elif isinstance(frame, TimeoutNow):
            self._filters.transferring = True
        elif isinstance(frame, RequestVote) and (
            core.term > before or self._journal.getVotedForNodeId() == core.peers[member].id
        ):
            self._campaign.timer.postpone(now)

    # Frames of our own

    def _on_read(self, member: int, frame: ReadRound, now: float) -> None:
        if not self._quarantine.active:
            self._reading.asked_by_leader(member, frame, now)

    def _on_refused(self, member: int, frame: HelloRefused, now: float) -> None:
        self._peers.refused(member, frame)
        self._handshake.refused(frame)

    def _on_snapshot_reply(self, member: int, frame: SnapshotReply, now: float) -> None:
        self._core.heard_from(member)
        self._catchup.reply(member, frame, now)

    def _on_ask(self, member: int, frame: PeerRequest, now: float) -> None:
        self._asks.asked(member, frame)

    def _on_answer(self, member: int, frame: PeerResponse, now: float) -> None:
        self._asks.answered(member, frame)

    def _all_handlers(self) -> dict[type[Frame], Callable[[int, Any, float], None]]:
        """Frame type -> who takes it: (member, frame, now)."""
        return {
            PreVote: self._campaign.asked,
            PreVoteReply: self._campaign.answered,
            HigherTerm: self._campaign.told_term,
            Propose: self._submission.received,
            ReadRound: self._on_read,
            ReadRoundReply: self._reading.confirmed,
            ReadIndexRequest: self._reading.asked_by_follower,
            ReadIndexReply: self._reading.answered,
            PeerRequest: self._on_ask,
            PeerResponse: self._on_answer,
            SnapshotBegin: self._installing.snapshot,
            SnapshotChunk: self._installing.snapshot,
            SnapshotEnd: self._installing.snapshot,
            SnapshotRequest: self._installing.wanted,
            Removed: self._on_removed,
            HelloRefused: self._on_refused,
            SnapshotReply: self._on_snapshot_reply,
        }

    # Steps

    def _replicate(self, now: float) -> None:
        """A leader tells the others of new entries, and of a commit index that moved."""
        core, announcing = self._core, self._announcing
        if not (core.is_leader and core.peers):
            return
        if self._journal.last_index == self._journal.durable_index:
            awaited = max(self._submission.awaited_index, self._reading.awaited_index)
            if not announcing.wants(core.commit_index, awaited, now):
                if announcing.due and self._announcer is None:
                    self._announcer = self._loop.call_later(announcing.due - now, self._announce)
                return
        announcing.told(core.commit_index)
        core.send_appends()

    def _announce(self) -> None:
        """A commit index may have waited long enough."""
        self._announcer = None
        if self._announcing.due:
            self._wake()

    def _send_late(self) -> None:
        self._outgoing.flushed()
        self._filters.transferring = False

    def _after(self, now: float) -> None:
        """Look at what the turn changed, and whether another must follow at once."""
        core = self._core
        more_reads = self._reading.applied(core.applied_index)
        role = (core.leader, core.term, core.is_leader)
        if role != self._role:
            self._changed_role(role, now)
        unapplied = core.commit_index > core.applied_index
        alone = core.voters == 1 and core.is_leader and core.commit_index < self._journal.last_index
        if unapplied or alone or more_reads or core.link.outbox:
            self._wake()
        if now >= self._next_deadlines:
            self._next_deadlines = now + DEADLINES
            self._expire(now)
        if core.is_leader and now >= self._next_reask:
            self._next_reask = now + self.config.heartbeat
            self._reading.remind()
        self._compaction.step(core.applied_index)

    def _changed_role(self, role: tuple[int, int, bool], now: float) -> None:
        _, was_term, was_leader = self._role
        self._role = role
        leader, term, leads = role
        if was_leader and (not leads or term != was_term):
            self._reading.leadership_lost()
            self._catchup.drop_all()
            self._campaign.timer.postpone(now)
        self._reading.leader_changed(now)
        log.info(
            "raft role changed",
            extra={
                "fields": {"leader": f"{leader:x}" if leader else "", "term": term, "leads": leads}
            },
        )
        for listener in self._listeners:
            listener(leader, term, leads)
        self._wake()

    def _expire(self, now: float) -> None:
        error = RequestTimeout if self.leader_id else LeaderFailed
        self._proposals.fail(error, lambda waiting: waiting.deadline <= now)
        self._reading.expire(now, error)
        self._asks.expire(now)
        self._catchup.expire(now)

    # Membership

    def reconfigure(self, membership: Membership) -> None:
        """The machine applied a change of the membership; called within `Machine.apply` or
        `Machine.restore`, so that it is in force for whatever comes behind."""
        self._reconfiguring.apply(membership)
        self._wake()

    def meet(self, membership: Membership, index: int = 0) -> None:
        """Others say who the members are (to a member that has no leader); not older than entry
        `index`."""
        self._reconfiguring.meet(membership, index)
        self._wake()

    @property
    def on_removed(self) -> Callable[[], None]:
        """Called once, when this member learns that it is no member any more."""
        return self._reconfiguring.on_removed

    @on_removed.setter
    def on_removed(self, listener: Callable[[], None]) -> None:
        self._reconfiguring.on_removed = listener

    def _on_removed(self, member: int, frame: Frame, now: float) -> None:
        log.info(
            "a peer says that this member was removed", extra={"fields": {"peer": f"{member:x}"}}
        )
        self.on_said_removed()

    # Lives

    def _acknowledged(self, member: int) -> Mark:
        index = self._core.match_index(member) if self._core.is_leader else 0
        return Mark(self._core.term, index) if index else Mark()

    def _on_older(self, number: int) -> None:
        if not self._quarantine.active:
            try:
                self._quarantine.begin(number)
            except OSError as error:
                self._die(error)
            else:
                self._wake()

    @property
    def on_bootstrapped(self) -> Callable[[], None]:
        """Called when others know that this member, which holds nothing, held something once."""
        return self._handshake.on_bootstrapped

    @on_bootstrapped.setter
    def on_bootstrapped(self, listener: Callable[[], None]) -> None:
        self._handshake.on_bootstrapped = listener

    # What the peers report

    def _received(self, member: int, frames: list[Frame]) -> None:
        if self._stopped:
            return
        self._inbox.extend((member, frame) for frame in frames)
        self._wake()

    def _connected(self, member: int) -> None:
        log.info("peer connected", extra={"fields": {"peer": f"{member:x}"}})
        peer = self._core.peers.get(member)
        if peer is None:
            return  # it is being cut off
        # It may be on another disk than before.
        self._core.forget_match(member)
        self._core.link.connected(peer)
        self._submission.reconnected(member)
        self._wake()

    def _lost(self, member: int) -> None:
        if self._stopped:
            return
        log.info("peer lost", extra={"fields": {"peer": f"{member:x}"}})
        self._inbox = [one for one in self._inbox if one[0] != member]
        self._handshake.lost(member)
        if member in self._core.peers:
            self._core.link.disconnected(self._core.peers[member])
        self._catchup.drop(member)
        self._asks.lost(member)
        if self.leader_id == member:
            self._campaign.timer.leader_lost(self.clock.now())
            self._reading.leader_changed(self.clock.now())
        self._wake()
