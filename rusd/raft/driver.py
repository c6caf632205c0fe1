"""Does what the core says: the asyncio side of a Raft member.

All work of a moment (messages that came in, new proposals and reads, a timer) is done in one *turn*
of the event loop: `Core.step`, then what its `Ready` demands, in the order that `core/ready.py`
gives and explains. Nothing is decided here but how the journal is flushed: on the loop, which is
quicker for few clients and a fast disk, or in a thread, during which no turn runs.

Two kinds of messages cause no turn: a leader's question whether this member follows it is answered
when it comes (`Core.confirm`), and a reply that changes nothing waits for a turn with another cause
(`Core.can_wait`).

An exception in a turn leaves an unknown state behind: the driver stops at once, sends nothing more,
and `wait_failed` raises it, which ends the process.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from rusd.base.logs import get_logger
from rusd.base.worker import Worker
from rusd.raft.apply import ApplyLoop, serve
from rusd.raft.config import RaftConfig
from rusd.raft.core.clock import Clock
from rusd.raft.core.commit_notice import PATIENCE
from rusd.raft.core.core import Core
from rusd.raft.core.ready import Answer, Events, MembershipChange, Ready
from rusd.raft.core.syncobj import PySyncObjRaft
from rusd.raft.ids import first_number
from rusd.raft.log.compaction import Compaction
from rusd.raft.log.journal import Journal
from rusd.raft.log.reconcile import reconcile
from rusd.raft.ports import Describe, Machine, Membership, Role, RoleListener
from rusd.raft.snapshots.incoming import IncomingSnapshot
from rusd.raft.snapshots.install import SnapshotInstaller
from rusd.raft.snapshots.streams import SnapshotStreams
from rusd.raft.transport import member_query
from rusd.raft.transport.frames import (
    AppendEntries,
    Frame,
    HelloRefused,
    PeerRequest,
    PeerResponse,
    ReadRound,
    Removed,
    SnapshotReply,
    pack,
)
from rusd.raft.transport.handshake import Handshake
from rusd.raft.transport.incarnations import Incarnations, Mark
from rusd.raft.transport.peers import Peers
from rusd.raft.transport.requests import PeerRequests

log = get_logger(__name__)

#: Seconds between looks at the clock, which cause a turn if something is due.
TICK = 0.02
#: Seconds between looks at the deadlines of requests to members and of snapshot streams.
DEADLINES = 0.25
#: Waiting proposals up to which the journal is flushed on the loop itself: quicker for one client.
#: With more, a thread does it if the disk is slow, and what arrives meanwhile shares the next entry
#: and flush. With a disk that needs no more than `FLUSH_SHORT` seconds the loop is quicker as well.
FLUSH_INLINE = 2
FLUSH_SHORT = 0.002


class Driver:
    """Runs one core: journal, state machine, connections, timers."""

    #: Never the loop's time, which stands still during a callback.
    _monotonic = staticmethod(time.monotonic)

    def __init__(self, config: RaftConfig, machine: Machine, describe: Describe) -> None:
        """Opens the journal. Raises JournalLocked or JournalCorrupt. `describe`: for the errors of
        handlers.
        """
        self.config = config
        self._member = config.member_id
        self._machine = machine
        #: What all timeouts of this member are measured by.
        self.clock = Clock(self._monotonic, max(config.election / 4, 2 * TICK))
        self.incarnations = Incarnations(config.directory)
        self.journal = Journal(
            config.wal_directory or config.directory / "wal", fsync=not config.unsafe_no_fsync
        )
        try:
            self._build(config, machine, describe)
        except BaseException:
            self.journal.close()
            raise

    def _build(self, config: RaftConfig, machine: Machine, describe: Describe) -> None:
        """Build everything above the journal."""
        # The log may be cut to what the state holds, which therefore must be durable.
        machine.sync()
        if reconcile(self.journal, *machine.positions()):
            self.journal.settle()
        self.handshake = Handshake(
            self._member,
            config.cluster_id,
            self.incarnations,
            mark=lambda: Mark(self.core.term, self.journal.last_index),
            joining=lambda: self.core.joining,
            features=config.features,
        )
        self.handshake.acknowledged = self._acknowledged
        self.handshake.on_older = self._on_older
        self.peers = Peers(
            self._member,
            config.cluster_id,
            _others(config.membership, self._member),
            handshake=self.handshake,
            on_frames=self._received,
            on_connected=self._connected,
            on_lost=self._lost,
            fail=self._die,
            tls=config.tls,
            reuse_port=config.reuse_port,
        )
        # Snapshots and the sync before a compaction; they may take long.
        self._worker = Worker("snapshots")
        snapshots = config.directory / "snapshots"
        self.streams = SnapshotStreams(snapshots, machine, self._send_one, self._worker, self._die)
        self.requests = PeerRequests(self._send_one, self._die, describe)
        self.core = self._make_core(config, machine)
        self.apply = ApplyLoop(self.core, machine, config.slow_apply)
        self._compaction = Compaction(
            config,
            machine,
            self.journal,
            self.streams.lowest_index,
            self._worker,
            self._die,
            self.wake,
        )
        installer = SnapshotInstaller(
            self.core,
            machine,
            self.journal,
            self._compaction,
            self._worker,
            self._no_turns,
            self.apply.drop,
        )
        self.incoming = IncomingSnapshot(
            snapshots / "incoming",
            self._send_one,
            self._worker,
            self._die,
            installer.install,
            self._snapshot_ended,
        )
        self._handlers: dict[type[Frame], Callable[[int, Any], None]] = {
            PeerRequest: self.requests.asked,
            PeerResponse: self.requests.answered,
            HelloRefused: self._on_refused,
            Removed: self._on_removed,
            SnapshotReply: self._on_snapshot_reply,
        }
        self._inbox: list[tuple[int, Frame]] = []
        #: Member -> when this leader sent it entries or a heartbeat last.
        self._heartbeats: dict[int, float] = {}
        self._heartbeat = config.heartbeat
        self.late_heartbeats = 0
        #: Called after leader or term changed.
        self.listeners: list[RoleListener] = []
        self._timer: asyncio.TimerHandle | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._scheduled = False
        # A thread of its own: a flush must not wait behind long work in the shared ones.
        self._flusher = ThreadPoolExecutor(1, thread_name_prefix="journal")
        #: The flush that runs in it; turns wait for it.
        self._flushing: asyncio.Future[bool] | None = None
        #: A snapshot is being installed; turns wait for it.
        self._held = False
        #: No turn runs any more: `stop` was called, or an error ended this member.
        self.stopped = False
        self._begun = False
        #: `stop` was called.
        self._ended = False
        self._next_deadlines = 0.0
        self._membership = config.membership
        self._members = frozenset(config.membership.urls)
        self._removed = False
        #: Called once, when this member learns that it was removed from the cluster.
        self.on_removed: Callable[[], None] = lambda: None
        #: Called when another member says that this one was removed. That is no proof: ask around.
        self.on_said_removed: Callable[[], None] = lambda: None

    def _make_core(self, config: RaftConfig, machine: Machine) -> Core:
        now = self.clock.now()
        applied = machine.positions()[0]
        raft = PySyncObjRaft(
            config.member_id,
            config.membership.voters - {config.member_id},
            self.journal,
            applied,
            heartbeat=config.heartbeat,
            # CheckQuorum. (etcd's leader looks once per election timeout: 1 to 2 of them.)
            quorum_timeout=config.election,
            now=now,
        )
        return Core(
            config,
            raft,
            applied,
            now=now,
            chance=random.Random(),
            first_number=first_number,
            snapshot_streams=self.streams.members,
            in_quarantine=self.incarnations.own.recovering,
        )

    # Life

    async def start(self) -> None:
        """Listen for peers and begin. OSError if a peer port is taken."""
        self.begin()
        await self.peers.start(self.config.listen_peer_urls)
        self.run()

    def begin(self) -> None:
        """The loop runs: from now on there is time."""
        self._begun = True
        self._loop = asyncio.get_running_loop()
        self._failed: asyncio.Future[None] = self._loop.create_future()
        self.core.start(self.clock.now())
        if not self.core.joining:
            self.peers.membership = self._member_list
        self.journal.flush()

    def run(self) -> None:
        """Start the timers."""
        self._timer = self._loop.call_later(TICK, self._on_timer)
        self.wake()

    async def stop(self) -> None:
        """End: everything that still waits fails with Stopped.

        Also after a failure. Releases everything even if a step raises, then raises that error.
        """
        if self._ended:
            return
        self._ended = self.stopped = True
        async with AsyncExitStack() as last_first:
            last_first.callback(self.close)
            if not self._begun:  # it was only built
                return
            last_first.callback(self._flush_last, self._flushing)
            for part in (self._compaction, self.streams, self.incoming, self.peers):
                last_first.push_async_callback(part.stop)
            self._halt()
            if self._flushing is not None:
                await asyncio.wait({self._flushing})

    def close(self) -> None:
        """Release the journal and the threads, after `stop` or without a `start`."""
        self._worker.stop()
        self._flusher.shutdown(wait=False)
        self.journal.close()

    def _flush_last(self, flushing: "asyncio.Future[bool] | None") -> None:
        """Flush what the last turn wrote, unless an error ended this member. `flushing`: the flush
        that was under way when it was stopped.
        """
        if self._failed.done():
            return
        self._failed.cancel()
        if flushing is not None:
            flushing.result()
        self.journal.flush()

    async def wait_failed(self) -> None:
        """Raises what broke this member; the process must end then."""
        await self._failed

    @property
    def begun(self) -> bool:
        """Whether `start` was called."""
        return self._begun

    @property
    def settled(self) -> bool:
        """Whether all that was received and committed is applied and flushed, and the log does not
        say that this member was removed.
        """
        waits = self._inbox or self._flushing or self._held or self.apply.busy or self._removed
        return not waits and self.core.applied_index >= self.core.commit_index

    def _halt(self) -> None:
        self.stopped = True
        for timer in (self._timer, self._deadline):
            if timer is not None:
                timer.cancel()
        _answer(self.core.stop())
        self.requests.stop()

    def _die(self, error: BaseException) -> None:
        self._halt()
        if not self._failed.done():
            log.critical("Raft cannot go on", exc_info=error)
            self._failed.set_exception(error)

    # The turn

    def wake(self) -> None:
        """Something was noted: take a turn soon."""
        if not (self._scheduled or self.stopped or self._flushing or self._held):
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _on_timer(self) -> None:
        if not self.stopped:
            now = self.clock.now()  # also while a flush keeps turns from running
            self._timer = self._loop.call_later(TICK, self._on_timer)
            # (A turn that finds nothing to do costs an idle member ten times as much as this look.)
            if self._inbox or now >= self._next_deadlines or self.core.due(now):
                self.wake()

    def _on_deadline(self) -> None:
        self._deadline = None
        deadline = self.core.deadline
        if deadline is None:
            return
        wait = deadline - self.clock.now()
        if wait > PATIENCE / 2:
            # That of a later commit: the one it was set for has been announced with entries.
            self._deadline = self._loop.call_later(wait, self._on_deadline)
        else:
            self.wake()

    def _turn(self) -> None:
        self._scheduled = False
        if self.stopped or self._flushing or self._held:
            # (An answer given within a turn may have asked for this one before the turn handed the
            # journal to the thread; another follows the flush.)
            return
        try:
            now = self.clock.now()
            inbox, self._inbox = self._inbox, []
            if inbox:
                self.peers.handled()
                self._serve(inbox)
            self._do(self.core.step(now, inbox))
        except Exception as error:  # noqa: BLE001
            # Ends the node: its state is unknown.
            self._die(error)

    def _do(self, ready: Ready) -> None:
        """What a step demands, in the order of `core/ready.py`."""
        self._send_now(ready)
        after_flush: Sequence[tuple[int, Frame]] = ready.after_flush
        if ready.flush and ready.flush_first and not self._flush_is_long():
            self.journal.flush()
            self._send(after_flush)
            after_flush = ()
        if ready.reads:
            serve(self.core, ready.reads)
        if ready.answers:
            _answer(ready.answers)
        self.apply.step(ready.entries)
        if self.journal.dirty:
            if self._flush_is_long():
                flushing = self._loop.run_in_executor(self._flusher, self.journal.flush)
                self._flushing = flushing
                flushing.add_done_callback(lambda done: self._flushed(done, ready, after_flush))
                return
            self.journal.flush()
        self._finish(ready, after_flush)

    @asynccontextmanager
    async def _no_turns(self) -> AsyncIterator[None]:
        """Within it no turn runs, and the journal is the caller's alone. What fails in it ends the
        member at once: the next turn would act on a state that is half exchanged.
        """
        self._held = True
        try:
            if self._flushing is not None:
                await asyncio.wait({self._flushing})
            yield
        except Exception as error:
            self._die(error)
            raise
        else:
            self._held = False
            self.wake()

    def _flush_is_long(self) -> bool:
        """Return whether other work can proceed during the flush. A cluster of one has none but
        that of the thread.
        """
        crowded = self.core.waiting_proposals > FLUSH_INLINE
        return crowded and (not self.core.peers or self.journal.flush_seconds > FLUSH_SHORT)

    def _flushed(
        self,
        flushing: "asyncio.Future[bool]",
        ready: Ready,
        after_flush: Sequence[tuple[int, Frame]],
    ) -> None:
        """The thread's flush is done; no turn ran meanwhile, so the journal was its alone."""
        self._flushing = None
        if self.stopped or flushing.cancelled():
            return
        try:
            flushing.result()
            self._finish(ready, after_flush)
        except Exception as error:  # noqa: BLE001
            # Ends the node: its state is unknown.
            self._die(error)
        else:
            self.wake()

    def _finish(self, ready: Ready, after_flush: Sequence[tuple[int, Frame]]) -> None:
        """The end of a turn, once everything before is durable."""
        core = self.core
        if after_flush:
            self._send(after_flush)
        if ready.events is not None:
            self._handle_events(ready.events, self.clock.now())
        if self.clock.latest >= self._next_deadlines:
            now = self.clock.now()
            self._next_deadlines = now + DEADLINES
            self.requests.expire(now)
            self.streams.expire(now)
        self._compaction.step(core.applied_index)
        if ready.deadline is not None and self._deadline is None:
            wait = ready.deadline - self.clock.now()
            self._deadline = self._loop.call_later(wait, self._on_deadline)
        if core.has_work:
            self.wake()

    def _handle_events(self, events: Events, now: float) -> None:
        core = self.core
        if events.recovered:
            self.incarnations.recovered()
            core.recovered()
        if events.membership is not None:
            self._reconfigure(events.membership)
        if events.leadership_lost:
            self._heartbeats.clear()
            self.streams.drop_all()
        # (A connection that ended during the flush would drop no stream that begins behind it.)
        for member in set(events.snapshots).intersection(core.connected_peers):
            self.streams.begin(member, core.applied_index, now)
        for member, frame in events.snapshot:
            self.incoming.receive(member, frame)
        for member, why in events.broken:
            self.peers.break_off(member, why)
        if events.role is not None:
            self._announce(events.role)

    def _announce(self, role: Role) -> None:
        fields = {
            "leader": f"{role.leader:x}" if role.leader else "",
            "term": role.term,
            "leads": role.leads,
        }
        log.info("raft role changed", extra={"fields": fields})
        for listener in self.listeners:
            listener(*role)

    # Messages out

    def _send_now(self, ready: Ready) -> None:
        if ready.appends:
            self._note_heartbeats(ready.appends)
        # The same object to several members is encoded once.
        before: Frame | None = None
        data = b""
        for member, append in ready.appends:
            if append is not before:
                before, data = append, pack(append)
            self.peers.send(member, data, droppable=not append.is_heartbeat)
        if ready.messages:
            self._send(ready.messages)

    def _note_heartbeats(self, appends: Iterable[tuple[int, Frame]]) -> None:
        """Count what leaves twice the interval of heartbeats after the one before, as etcd does."""
        sent, now, late = self._heartbeats, self._monotonic(), 2 * self._heartbeat
        for member, _ in appends:
            if now - sent.get(member, now) > late:
                self.late_heartbeats += 1
            sent[member] = now

    def _send(self, messages: Sequence[tuple[int, Frame]]) -> None:
        before: Frame | None = None
        data = b""
        for member, message in messages:
            if message is not before:
                before, data = message, pack(message)
            self.peers.send(member, data)

    def _send_one(self, member: int, frame: Frame) -> None:
        self.peers.send(member, pack(frame))

    # Messages that are not the core's

    def _serve(self, inbox: Iterable[tuple[int, Frame]]) -> None:
        for member, frame in inbox:
            handler = self._handlers.get(type(frame))
            if handler is not None and member in self.core.peers:
                handler(member, frame)

    def _on_refused(self, member: int, frame: HelloRefused) -> None:
        self.peers.refused(member, frame)
        self.handshake.refused(member, frame)

    def _on_removed(self, member: int, frame: Removed) -> None:
        log.info(
            "a peer says that this member was removed", extra={"fields": {"peer": f"{member:x}"}}
        )
        self.on_said_removed()

    def _snapshot_ended(self, member: int, installed: bool) -> None:
        self.core.acknowledge_snapshot(member, installed=installed)
        self.wake()

    def _on_snapshot_reply(self, member: int, frame: SnapshotReply) -> None:
        self.streams.reply(member, frame, self.clock.now())

    # Membership

    def _reconfigure(self, change: MembershipChange) -> None:
        effective = change.effective
        self._membership = change.applied
        self.handshake.started = change.applied.started
        for member in self._members - effective.urls.keys():
            self.streams.drop(member)
            self.requests.lost(member)
        self._members = frozenset(effective.urls)
        self.peers.reconfigure(_others(effective, self._member), effective.removed)
        self.peers.membership = self._member_list
        if self._member in change.applied.removed and not self._removed:
            self._removed = True
            self._loop.call_soon(self.on_removed)

    def _member_list(self) -> bytes:
        incarnations, index = self.handshake.incarnations(), self.core.applied_index
        return member_query.answer(
            member_query.Cluster(self.config.cluster_id, self._membership, incarnations, index)
        )

    # Incarnations

    def _acknowledged(self, member: int) -> Mark:
        index = self.core.match_index(member) if self.core.is_leader else 0
        return Mark(self.core.term, index) if index else Mark()

    def _on_older(self, number: int) -> None:
        if not self.core.in_quarantine:
            self.core.begin_quarantine()
            try:
                self.incarnations.recover(number)
            except OSError as error:
                self._die(error)
            else:
                self.wake()

    # What the connections report

    def _received(self, member: int, frames: list[Frame]) -> None:
        if self.stopped:
            return
        core, urgent = self.core, False
        try:
            for frame in frames:
                if isinstance(frame, ReadRound) and (reply := core.confirm(member, frame)):
                    self._send_one(member, reply)
                    continue
                self._inbox.append((member, frame))
                urgent = urgent or not core.can_wait(member, frame)
        except Exception as error:  # noqa: BLE001
            # Ends the node: its state is unknown.
            self._die(error)
        if urgent:
            self.wake()
        elif not self._inbox:
            self.peers.handled()

    def _connected(self, member: int) -> None:
        log.info("peer connected", extra={"fields": {"peer": f"{member:x}"}})
        # What an earlier connection left behind (`_lost`) comes again by this one.
        self._inbox = [one for one in self._inbox if one[0] != member]
        self.handshake.connected(member)
        self.core.connected(member)
        self.wake()

    def _lost(self, member: int) -> None:
        if self.stopped:
            return
        log.info("peer lost", extra={"fields": {"peer": f"{member:x}"}})
        # Replies speak of a disk and a leadership that may be gone when they are read. Entries and
        # a commit index stay true, and are the last that a removed member is sent by its leader.
        self._inbox = [
            (sender, frame)
            for sender, frame in self._inbox
            if sender != member or (isinstance(frame, AppendEntries) and not frame.is_heartbeat)
        ]
        self.handshake.lost(member)
        self.core.disconnected(member, self.clock.now())
        self.streams.drop(member)
        self.requests.lost(member)
        self.wake()


def _answer(answers: Sequence[Answer]) -> None:
    for done, result in answers:
        done(result)


def _others(membership: Membership, member: int) -> Mapping[int, Sequence[str]]:
    """Returns the peer URLs of all members but one."""
    return {other: urls for other, urls in membership.urls.items() if other != member}
