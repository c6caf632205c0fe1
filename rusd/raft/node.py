"""One Raft member: the loop turn that drives the core, and what the rooms above call.

All work of a moment (frames that came in, new proposals and reads, a timer) is done in one *turn*,
whose order is what makes it safe:

 1  frames in, through the filters, to PySyncObj; answers are only queued
 2  tick: count commits, apply them as one storage write, resolve the waiting calls
 3  propose: what was submitted since the last turn becomes one entry, or one frame to the leader
 4  send appends, forwarded proposals and reads: they assert nothing about this member's disk
 5  flush the journal: term, vote, truncation and entries in one write and one fdatasync
 6  send acknowledgements and votes, which assert what step 5 made durable

A leader's own fdatasync thus overlaps its followers' work, and still counts only when done: an
acknowledgement of an entry can be read in a later turn at the earliest. Proposals come after the
tick for the same reason, else a cluster of one would commit what is not durable yet.

An exception in a turn leaves an unknown state behind: the node stops at once, sends nothing more,
and `wait_failed` raises it, which ends the process.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from rusd.errors import (
    BAD_LEADER_TRANSFEREE,
    NOT_LEADER,
    STOPPED,
    TIMEOUT,
    TIMEOUT_LEADER_FAIL,
    TIMEOUT_LEADER_TRANSFER,
    TOO_MANY_REQUESTS,
)
from rusd.logs import get_logger
from rusd.raft.asks import Asks, Handler
from rusd.raft.catchup import CatchUp
from rusd.raft.config import RaftConfig
from rusd.raft.core import RaftCore
from rusd.raft.election import Election
from rusd.raft.filters import Broken, Filters
from rusd.raft.frames import RAFT, problem
from rusd.raft.journal import Journal, LogEntry
from rusd.raft.peers import Frame, Peers, pack
from rusd.raft.ports import Entry, Machine, Position, Request, RoleListener
from rusd.raft.proposals import Inbox, Proposals, Proposed, decode_entry, encode_entry, entries_of
from rusd.raft.read_index import ReadIndex
from rusd.raft.reads import Read, Reads

log = get_logger(__name__)

#: Seconds between turns that nothing else caused.
TICK = 0.02
#: Seconds between looks at deadlines.
DEADLINES = 0.25
#: Calls waiting here up to which the journal is flushed on the loop itself: quicker for one client.
#: With more, a thread does it, and what arrives meanwhile shares the next entry and flush.
FLUSH_INLINE = 2
#: Committed but unapplied entries above which new proposals are refused (etcd's limit).
MAX_APPLY_LAG = 5000
#: Bytes of log above which it is compacted before its time, and what is then kept at most.
LOG_BYTES = 128 << 20
KEPT_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """What the leader knows of another member."""

    connected: bool
    match_index: int


class RaftNode:
    """One member of the cluster. All methods belong to the event loop's thread."""

    def __init__(self, config: RaftConfig, machine: Machine) -> None:
        """Opens the journal: JournalLocked, JournalCorrupt."""
        self.config = config
        self.member_id = config.member_id
        self._machine = machine
        others = [member for member in config.peers if member != config.member_id]
        self._journal = Journal(
            config.wal_directory or config.directory / "wal", fsync=not config.unsafe_no_fsync
        )
        self._core = RaftCore(
            config.member_id,
            others,
            self._journal,
            machine.positions(),
            self._apply,
            heartbeat=config.heartbeat,
            # etcd's leader looks once per election timeout; half of one more bears with a pause.
            quorum_timeout=1.5 * config.election,
        )
        self._filters = Filters(self._core)
        self._chance = random.Random()
        self._voters = len(others) + 1
        self._peers = Peers(
            config.member_id,
            config.cluster_id,
            {member: config.peers[member] for member in others},
            on_frames=self._received,
            on_connected=self._connected,
            on_lost=self._lost,
        )
        self._catchup = CatchUp(config.directory / "snapshots", machine, self._send)
        self._asks = Asks(self._send)
        self._proposals = Proposals(config.member_id)
        self._taken = Inbox()
        self._rounds = ReadIndex(self._voters)
        self._reads = Reads()
        #: Reads other members asked about while this leader could not open a round yet.
        self._asked_reads: list[tuple[int, int]] = []
        self._inbox: list[tuple[int, Frame]] = []
        #: Taken from followers in `_forwarded_term`, not yet in the log.
        self._forwarded: list[Proposed] = []
        self._forwarded_term = 0
        self._late: list[tuple[int, Frame]] = []
        self._listeners: list[RoleListener] = []
        self._role = (0, self._core.term, False)
        self._applied_term = machine.positions()[0].term
        self._compacted_at = machine.positions()[0].index
        self._asked_term = 0
        self._transferee = 0
        self._scheduled = False
        #: The flush that runs in a thread; turns wait for it.
        self._flushing: asyncio.Future[bool] | None = None
        self._stopped = False
        self._announced_commit = 0
        self._next_deadlines = 0.0
        self._next_reask = 0.0

    # Life

    async def start(self) -> None:
        """Listen for peers and begin. OSError if a peer port is taken."""
        self._loop = asyncio.get_running_loop()
        self._failed: asyncio.Future[None] = self._loop.create_future()
        self._election = Election(
            self.config.election, self._voters - 1, self._loop.time(), self._chance
        )
        self._journal.flush()
        await self._peers.start(self.config.listen_peer_urls)
        self._timer = self._loop.call_later(TICK, self._on_timer)
        self._wake()

    async def stop(self) -> None:
        """Hand leadership on if there is somebody to take it (for a second at most), then end:
        everything that still waits fails with STOPPED."""
        if self._stopped:
            return
        await self._hand_on()
        self._halt(STOPPED)
        if self._flushing is not None:
            await asyncio.wait({self._flushing})
        self._asks.stop()
        await self._peers.stop()
        await self._catchup.stop()
        if not self._failed.done():
            self._failed.cancel()
            self._journal.flush()
        self._journal.close()

    async def _hand_on(self) -> None:
        connected = self._peers.connected()
        if not self.is_leader or not connected:
            return
        best = max(connected, key=self._core.match_index)
        try:
            await asyncio.wait_for(self.transfer_leadership(best), 1.0)
        except Exception as error:
            log.info("leadership was not handed on", extra={"fields": {"error": str(error)}})

    def _halt(self, error: Exception) -> None:
        self._stopped = True
        self._timer.cancel()
        self._proposals.fail(error)
        self._rounds.fail()
        self._reads.fail(error)

    async def wait_failed(self) -> None:
        """Raises what broke this node; the process must end then."""
        await self._failed

    def _die(self, error: BaseException) -> None:
        log.critical("Raft cannot go on", exc_info=error)
        self._halt(STOPPED)
        if not self._failed.done():
            self._failed.set_exception(error)

    # What the rooms above see

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
    def commit_index(self) -> int:
        return self._core.commit_index

    @property
    def applied_index(self) -> int:
        return self._core.applied_index

    @property
    def pending_proposals(self) -> int:
        return len(self._proposals.waiting)

    def on_role(self, listener: RoleListener) -> None:
        self._listeners.append(listener)

    def serve(self, kind: str, handler: Handler) -> None:
        """Answer other members' questions of this kind."""
        self._asks.serve(kind, handler)

    async def ask(self, member_id: int, kind: str, body: bytes, timeout: float) -> bytes:
        """Put a question to another member. Raises its EtcdError or a timeout."""
        return await self._asks.ask(member_id, kind, body, timeout)

    def peer_status(self) -> dict[int, PeerStatus]:
        """Every other member, as this one sees it (match index: only on the leader)."""
        connected = self._peers.connected()
        return {
            member: PeerStatus(member in connected, self._core.match_index(member))
            for member in self._core.peers
        }

    def propose(self, payload: bytes) -> asyncio.Future[Any]:
        """Replicate `payload`; the machine's result once it is applied on this member.

        Fails with TOO_MANY_REQUESTS, STOPPED, or TIMEOUT / TIMEOUT_LEADER_FAIL after
        `request_timeout` (then it may still be applied later).
        """
        future: asyncio.Future[Any] = self._loop.create_future()
        if self._stopped:
            future.set_exception(STOPPED)
        elif self._proposals.full() or self.commit_index - self.applied_index > MAX_APPLY_LAG:
            future.set_exception(TOO_MANY_REQUESTS)
        else:
            deadline = self._loop.time() + self.config.request_timeout
            self._proposals.add(payload, _resolver(future), deadline)
            self._wake()
        return future

    def read_index(self) -> asyncio.Future[None]:
        """Resolves once everything that was acknowledged anywhere in the cluster before this call
        is applied on this member. Fails with STOPPED or TIMEOUT."""
        future: asyncio.Future[None] = self._loop.create_future()
        if self._stopped:
            future.set_exception(STOPPED)
        else:
            deadline = self._loop.time() + self.config.request_timeout
            self._reads.add(Read(_resolver(future), deadline))
            self._wake()
        return future

    async def transfer_leadership(self, target: int) -> None:
        """Make `target` the leader. Raises NOT_LEADER, BAD_LEADER_TRANSFEREE (unknown or already
        leading), TIMEOUT_LEADER_TRANSFER."""
        if not self.is_leader:
            raise NOT_LEADER
        if target == self.member_id:
            return
        if target not in self._core.peers:
            raise BAD_LEADER_TRANSFEREE
        deadline = self._loop.time() + self.config.request_timeout
        suspended = self._loop.time() + self.config.election
        term = self.term
        self._transferee = target
        try:
            asked = 0.0
            while self.term == term or self.leader_id == 0:
                now = self._loop.time()
                if now > deadline:
                    raise TIMEOUT_LEADER_TRANSFER
                if now > suspended:
                    self._transferee = 0  # clients have waited long enough
                ready = self._core.match_index(target) == self._journal.last_index
                if self.is_leader and ready and now - asked > self.config.election:
                    asked = now
                    self._send(target, {"type": "timeout_now", "term": term})
                self._wake()
                await asyncio.sleep(0.005)
        finally:
            self._transferee = 0
            self._wake()

    # The turn

    def _wake(self) -> None:
        if not (self._scheduled or self._stopped or self._flushing):
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _on_timer(self) -> None:
        if not self._stopped:
            self._timer = self._loop.call_later(TICK, self._on_timer)
            self._wake()

    def _turn(self) -> None:
        self._scheduled = False
        if self._stopped:
            return
        try:
            now = self._loop.time()
            inbox, self._inbox = self._inbox, []
            for member, frame in inbox:
                self._handle(member, frame, now)
            self._core.tick()
            self._campaign_if_due(now)
            self._propose()
            self._read()
            self._send_early()
            if self._journal.dirty and len(self._proposals.waiting) > FLUSH_INLINE:
                self._flushing = self._loop.run_in_executor(None, self._journal.flush)
                self._flushing.add_done_callback(self._flushed)
            else:
                self._journal.flush()
                self._finish()
        except Exception as error:
            self._die(error)

    def _flushed(self, flushing: asyncio.Future[bool]) -> None:
        """The thread's flush is done; no turn ran meanwhile, so the journal was its alone."""
        self._flushing = None
        if self._stopped or flushing.cancelled():
            return
        try:
            flushing.result()
            self._finish()
        except Exception as error:
            self._die(error)
        else:
            self._wake()

    def _finish(self) -> None:
        """The end of a turn, once its journal is durable."""
        self._send_late()
        self._after(self._loop.time())

    def _handle(self, member: int, frame: Frame, now: float) -> None:
        wrong = problem(frame)
        if wrong is not None:
            self._peers.break_off(member, wrong)
        elif frame["type"] in RAFT:
            try:
                self._handle_raft(member, frame, now)
            except Broken as broken:
                self._peers.break_off(member, str(broken))
        else:
            self._handlers[frame["type"]](self, member, frame, now)

    def _handle_raft(self, member: int, frame: Frame, now: float) -> None:
        core, kind, term = self._core, frame["type"], frame["term"]
        if kind == "append_entries" and term < core.term:
            self._late.append((member, {"type": "term", "term": core.term}))
        elif kind == "request_vote" and term > core.term and not frame.get("transfer"):
            if core.is_leader or self._election.hears_leader(now):
                return  # a healthy leader is not deposed
        elif kind == "request_vote" and self._filters.repeats_vote(member, frame):
            self._late.append((member, {"type": "response_vote", "term": term}))
        message = self._filters.incoming(member, frame)
        if message is None:
            return
        before = core.term
        core.link.deliver(core.peers[member], message)
        self._filters.delivered()
        if kind == "append_entries" and core.leader == member:
            self._election.heard(now)
            if "prevLogIdx" not in frame:
                # PySyncObj says nothing to this; the leader counts who is there (CheckQuorum).
                alive = {"type": "next_node_idx", "reset": False, "success": False}
                self._late.append((member, {**alive, "term": core.term, "next_node_idx": 1}))
            if "prevLogIdx" not in message:
                alive = {"type": "next_node_idx", "reset": False, "success": False}
                self._late.append((member, {**alive, "term": core.term, "next_node_idx": 1}))
        elif kind == "timeout_now":
            self._filters.transferring = True
        elif kind == "request_vote" and (
            core.term > before or self._journal.getVotedForNodeId() == core.peers[member].id
        ):
            self._election.postpone(now)

    # Frames of our own

    def _on_prevote(self, member: int, frame: Frame, now: float) -> None:
        log_ = self._journal
        own = (log_.term_at(log_.last_index) or 0, log_.last_index)
        granted = (
            frame["term"] > self.term
            and not self.is_leader
            and not self._election.hears_leader(now)
            and (frame["last_term"], frame["last_index"]) >= own
        )
        if granted:
            # Of two that ask each other at once, one must give up, or both elections may fail.
            self._election.yield_to(now, give_up=member > self.member_id)
        reply = {"type": "prevote_reply", "asked": frame["term"], "term": self.term}
        self._send(member, {**reply, "granted": granted})

    def _on_prevote_reply(self, member: int, frame: Frame, now: float) -> None:
        if frame["term"] > self.term:
            self._core.learn_term(member, frame["term"])
        elif (
            frame["granted"]
            and frame["asked"] == self.term + 1 == self._asked_term
            and not self.is_leader
            and not self._election.hears_leader(now)
            and self._election.granted(member)
        ):
            self._core.campaign()

    def _on_term(self, member: int, frame: Frame, now: float) -> None:
        if frame["term"] > self.term:
            self._core.learn_term(member, frame["term"])
            self._election.postpone(now)

    def _on_propose(self, member: int, frame: Frame, now: float) -> None:
        # A batch of another term is dropped: its sender proposes it again once an entry of a
        # later term proves that it is lost (and there will be one, since that term has no leader
        # any more). A refusal could prove nothing: the batch may have come twice.
        if self.is_leader and frame["term"] == self.term:
            batch = [(member, sequence, payload) for _, sequence, payload in frame["batch"]]
            if self._forwarded_term != self.term:
                self._forwarded, self._forwarded_term = [], self.term
            self._forwarded += self._taken.accept(self.term, batch)

    def _on_read(self, member: int, frame: Frame, now: float) -> None:
        if frame["term"] == self.term and self.leader_id == member:
            self._send(member, {**frame, "type": "read_reply"})

    def _on_read_reply(self, member: int, frame: Frame, now: float) -> None:
        if self.is_leader and frame["term"] == self.term:
            self._rounds.confirm(member, frame["number"])

    def _on_read_index(self, member: int, frame: Frame, now: float) -> None:
        if self.is_leader:
            self._asked_reads.append((member, frame["id"]))

    def _on_read_index_reply(self, member: int, frame: Frame, now: float) -> None:
        self._reads.answered(frame["id"], frame["index"])

    def _on_ask(self, member: int, frame: Frame, now: float) -> None:
        self._asks.asked(member, frame)

    def _on_answer(self, member: int, frame: Frame, now: float) -> None:
        self._asks.answered(member, frame)

    def _on_snapshot(self, member: int, frame: Frame, now: float) -> None:
        if self.leader_id != member:
            return
        complete = self._catchup.receive(member, frame)
        if complete is None:
            return
        installed = complete.index > self.commit_index
        proven = self.commit_index
        if installed:
            # Whatever fails from here on ends the process; the next start finds one whole state.
            self._machine.restore(complete.directory)
            last, before = self._machine.positions()
            if last.index < complete.index:
                raise RuntimeError(f"the snapshot ends at {last.index}, not at {complete.index}")
            self._core.installed(last, before)
            # A tail the log may have kept behind it is not known to be the leader's.
            proven = last.index
            self._applied_term = last.term
            self._compacted_at = last.index
            # Which of the waiting proposals the snapshot holds cannot be known.
            self._proposals.fail(TIMEOUT_LEADER_FAIL, lambda waiting: waiting.term > 0)
            self._reads.applied(last.index)
        self._catchup.finished(member, frame["stream"], installed=installed)
        ack = {"type": "next_node_idx", "reset": True, "success": installed, "term": self.term}
        self._late.append((member, {**ack, "next_node_idx": proven + 1}))

    def _on_snapshot_reply(self, member: int, frame: Frame, now: float) -> None:
        self._core.heard_from(member)
        self._catchup.reply(member, frame, now)

    _handlers: ClassVar[dict[str, Callable[["RaftNode", int, Frame, float], None]]] = {
        "prevote": _on_prevote,
        "prevote_reply": _on_prevote_reply,
        "term": _on_term,
        "propose": _on_propose,
        "read": _on_read,
        "read_reply": _on_read_reply,
        "read_index": _on_read_index,
        "read_index_reply": _on_read_index_reply,
        "ask": _on_ask,
        "answer": _on_answer,
        "snapshot": _on_snapshot,
        "snapshot_reply": _on_snapshot_reply,
    }

    # Steps

    def _campaign_if_due(self, now: float) -> None:
        core = self._core
        if core.is_leader:
            return
        if self._voters > 1 and not self._peers.connected():
            self._election.hold(now)
        if not self._election.due(now):
            return
        self._asked_term = core.term + 1
        if self._election.alone():
            core.campaign()
            return
        log_ = self._journal
        last_term = log_.term_at(log_.last_index) or 0
        question = {"type": "prevote", "term": core.term + 1, "last_term": last_term}
        for member in core.peers:
            self._send(member, {**question, "last_index": log_.last_index})

    def _propose(self) -> None:
        core = self._core
        if core.is_leader:
            if not self._transferee:
                own = self._proposals.take(core.term) if self._proposals.unsent() else []
                requests = (self._forwarded if self._forwarded_term == core.term else []) + own
                self._forwarded = []
                for group in entries_of(requests):
                    core.propose(encode_entry(group))
            behind = self._journal.last_index != self._journal.durable_index
            if behind or core.commit_index != self._announced_commit:
                self._announced_commit = core.commit_index
                core.send_appends()
        else:
            # Taken from others in a term that is over: they propose them again themselves.
            self._forwarded = []
            leader = core.leader
            if leader and self._proposals.unsent() and leader in self._peers.connected():
                self._forward(leader, self._proposals.take(core.term))

    def _forward(self, leader: int, batch: list[Proposed]) -> None:
        for group in entries_of(batch):
            self._send(leader, {"type": "propose", "term": self.term, "batch": group})

    def _read(self) -> None:
        core = self._core
        if core.is_leader:
            if self._applied_term != core.term:
                return  # what earlier leaders committed may not be applied here yet
            if self._reads.pending():
                reads = self._reads.take()
                self._rounds.add(lambda index: self._reads.confirmed(index, reads))
            for member, number in self._asked_reads:
                self._rounds.add(self._replier(member, number))
            self._asked_reads = []
            round_ = self._rounds.open(core.commit_index)
            if round_ is not None:
                self._ask_round(round_)
            self._reads.applied(core.applied_index)
        elif core.leader in self._peers.connected() and self._reads.pending():
            question = self._reads.ask(self._loop.time())
            self._send(core.leader, {"type": "read_index", "id": question})

    def _ask_round(self, number: int) -> None:
        frame = pack({"type": "read", "term": self.term, "number": number})
        for member in self._core.peers:
            self._peers.send(member, frame)

    def _replier(self, member: int, number: int) -> Callable[[int | None], None]:
        def reply(index: int | None) -> None:
            if index is not None:
                self._send(member, {"type": "read_index_reply", "id": number, "index": index})

        return reply

    def _send(self, member: int, frame: Frame) -> None:
        self._peers.send(member, pack(frame))

    def _send_early(self) -> None:
        """Appends go out; the rest of PySyncObj's messages waits for the flush."""
        outbox, self._core.link.outbox = self._core.link.outbox, []
        packed: dict[tuple[int, int, int, int], bytes] = {}
        for member, message in outbox:
            if message["type"] != "append_entries":
                self._late.append((member, message))
                continue
            if "serialized" in message or self._catchup.sending_to(member):
                # It needs a snapshot; this keeps its timer still.
                alive = {"type": "append_entries", "term": message["term"], "commit_index": 0}
                self._send(member, alive)
                continue
            entries = message["entries"]
            key = (
                message["term"],
                message["commit_index"],
                message["prevLogIdx"],
                len(entries),
            )
            data = packed.get(key)
            if data is None:
                data = packed[key] = pack(message)
            self._peers.send(member, data, droppable=True)
        for member in self._core.wants_snapshot():
            self._catchup.begin(member, self.applied_index, self._loop.time())

    def _send_late(self) -> None:
        late, self._late = self._late, []
        for member, message in late:
            self._send(member, message)
        self._filters.transferring = False

    def _after(self, now: float) -> None:
        """Look at what the turn changed, and whether another must follow at once."""
        core = self._core
        self._reads.applied(core.applied_index)
        role = (core.leader, core.term, core.is_leader)
        if role != self._role:
            self._changed_role(role, now)
        unapplied = core.commit_index > core.applied_index
        alone = self._voters == 1 and core.commit_index < self._journal.last_index
        if unapplied or alone or core.link.outbox:
            self._wake()
        if now >= self._next_deadlines:
            self._next_deadlines = now + DEADLINES
            self._expire(now)
        if core.is_leader and now >= self._next_reask:
            self._next_reask = now + self.config.heartbeat
            if (number := self._rounds.unanswered()) is not None:
                self._ask_round(number)
        self._compact_if_due()

    def _changed_role(self, role: tuple[int, int, bool], now: float) -> None:
        _, was_term, was_leader = self._role
        self._role = role
        leader, term, leads = role
        if was_leader and (not leads or term != was_term):
            self._rounds.fail()
            self._catchup.drop_all()
            self._asked_reads = []
            self._election.postpone(now)
        self._reads.ask_again(now, everything=True)
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
        error = TIMEOUT if self.leader_id else TIMEOUT_LEADER_FAIL
        self._proposals.fail(error, lambda waiting: waiting.deadline <= now)
        self._reads.ask_again(now)
        self._reads.expire(now, error)
        self._catchup.expire(now)

    def _compact_if_due(self) -> None:
        """Shorten the log once enough entries were applied: the state first, then the log."""
        applied = self.applied_index
        due = applied - self._compacted_at >= self.config.snapshot_count
        if not due and (self._journal.size < LOG_BYTES or applied == self._compacted_at):
            return
        self._compacted_at = applied
        first = applied - self.config.catchup_entries
        if self._journal.size >= LOG_BYTES:
            first = max(first, self._journal.index_keeping(KEPT_BYTES))
        lowest = self._catchup.lowest_index()
        first = min(first, applied, applied if lowest is None else lowest)
        if first > self._journal.first_index:
            self._machine.sync()
            self._journal.compact(first)

    def _apply(self, entries: list[LogEntry]) -> None:
        """Step 2's callback: committed entries to the machine, results to the waiting calls."""
        proposals = self._proposals
        decoded = [
            (Position(index, term), decode_entry(command)) for command, index, term in entries
        ]
        results = self._machine.apply(
            [
                Entry(
                    position,
                    [
                        Request(payload, proposals.wanted(origin, sequence))
                        for origin, sequence, payload in requests
                    ],
                )
                for position, requests in decoded
            ]
        )
        at = 0
        for _, requests in decoded:
            for origin, sequence, _ in requests:
                if origin == self.member_id:
                    proposals.resolve(sequence, results[at])
                at += 1
        assert at == len(results)
        term = entries[-1][2]
        if term != self._applied_term:
            self._applied_term = term
            proposals.lost_before(term)

    # What the peers report

    def _received(self, member: int, frames: list[Frame]) -> None:
        if self._stopped:
            return
        self._inbox.extend((member, frame) for frame in frames)
        self._wake()

    def _connected(self, member: int) -> None:
        log.info("peer connected", extra={"fields": {"peer": f"{member:x}"}})
        self._core.link.connected(self._core.peers[member])
        if self.leader_id == member:
            # What the broken connection swallowed; the leader skips what it has.
            self._forward(member, self._proposals.sent_in(self.term))
        self._wake()

    def _lost(self, member: int) -> None:
        if self._stopped:
            return
        log.info("peer lost", extra={"fields": {"peer": f"{member:x}"}})
        self._inbox = [one for one in self._inbox if one[0] != member]
        self._core.link.disconnected(self._core.peers[member])
        self._catchup.drop(member)
        self._asks.lost(member)
        if self.leader_id == member:
            self._election.leader_lost(self._loop.time())
            self._reads.ask_again(self._loop.time(), everything=True)
        self._wake()


def _resolver(future: asyncio.Future[Any]) -> Callable[[object], None]:
    """Resolves a future unless whoever waited for it has gone."""

    def done(result: object) -> None:
        if future.done():
            return
        if isinstance(result, BaseException):
            future.set_exception(result)
        else:
            future.set_result(result)

    return done
