"""One machine of a simulated cluster: its clock, its disk, and the process that comes and goes."""

import asyncio
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rusd.member.errors import RemovedByPeers
from rusd.member.force_new_cluster import removals
from rusd.member.identity import Identity
from rusd.member.member_list import MemberList
from rusd.raft.config import RaftConfig
from rusd.raft.driver import Driver
from rusd.raft.force_new_cluster import force
from rusd.raft.log.journal import Journal
from rusd.raft.node import RaftNode
from rusd.raft.ports import Describe, Machine, Membership
from rusd.raft.transport.frames import AppendEntries
from rusd.raft.transport.incarnations import end_recovering
from rusd.state.listeners import Listeners
from rusd.state.machine import StateMachine
from rusd.state.members import Member
from tests.sim.clock import MemberClock, SimExecutor
from tests.sim.disk import SEGMENT, SimJournal
from tests.sim.engine import MemoryEngine, Store, copies_of, stores
from tests.sim.network import Connection, Frame, SimPeers

if TYPE_CHECKING:
    from tests.sim.world import World

CLUSTER = 77
HEARTBEAT_MS, ELECTION_MS = 30, 300
#: How often a process dies between a piece of work in its thread and what follows on the loop: the
#: steps of an install of a snapshot are so short that no crash at a random time meets them.
DIES_BEHIND_WORK = 0.15
#: Seconds from the first timers of a member that stood still to what its sockets hold.
READ_AFTER = 0.0001


@dataclass
class Copy:
    """A data directory as it was once."""

    directory: Path
    #: The databases in it.
    stores: dict[str, Store]
    #: Number of the incarnation that it was made in.
    incarnation: int


class Handed(NamedTuple):
    """Entries that continue the receiver's log, whether or not they have been read."""

    term: int
    #: The last of them, and the last that is committed.
    end: int = 0
    committed: int = 0


class Process:
    """One life of a member's process; a token to compare with."""


class SimDriver(Driver):
    """The driver, which stands still while its host does, and is looked at after every turn."""

    #: The host whose node is being made.
    host: "Host"

    def __init__(self, config: RaftConfig, machine: Machine, describe: Describe) -> None:
        self.host = SimDriver.host
        super().__init__(config, machine, describe)

    def _turn(self) -> None:
        host = self.host
        if host.stands_still(self, self._turn):
            return
        super()._turn()
        if self.apply.busy:
            host.sliced()
        host.world.step(host)

    def _on_timer(self) -> None:
        if not self.host.stands_still(self, self._on_timer):
            super()._on_timer()

    def _flushed(self, *arguments: Any) -> None:
        if not self.host.stands_still(self, self._flushed, *arguments):
            super()._flushed(*arguments)
            self.host.world.step(self.host)

    def _monotonic(self) -> float:
        return self.host.clock.time()

    def begin(self) -> None:
        super().begin()
        self._loop = self.host.clock  # type: ignore[assignment]


class SimNode(RaftNode):
    """The node on such a driver."""

    driver_type = SimDriver


class Host:
    """One machine."""

    def __init__(self, world: "World", member: int, directory: Path) -> None:
        self.world = world
        self.member = member
        self.directory = directory
        self.chance = random.Random(world.chance.getrandbits(64))
        self.clock = MemberClock(world.loop)
        self.process: Process | None = None
        self.node: SimNode
        self.machine: StateMachine
        self.journal: SimJournal
        self.peers: SimPeers
        self.paused = False
        self.disk_full = False
        #: Seconds a flush takes.
        self.flush_takes = 0.0
        #: Seconds that a piece of work on snapshots takes in its thread.
        self.work_takes = self.chance.choice((0.0, 0.001, 0.01, 0.1))
        #: Seconds a slice of a long apply takes.
        self.slice_takes = self.chance.choice((0.0005, 0.002, 0.008))
        #: While a flush on the loop takes: nothing else happens, nothing leaves.
        self.busy_until = 0.0
        self._waiting: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
        self._held: list[tuple[int, bytes]] = []
        #: What arrived while it stood still.
        self._unread: list[tuple[int, list[Frame], object]] = []
        #: Member -> the connection to it that counts.
        self._connections: dict[int, object] = {}
        #: Leader -> what this process was handed of its connection.
        self.handed: dict[int, Handed] = {}
        self._background: list[asyncio.Task[Any]] = []
        #: Whether this member was removed for good.
        self.removed = False
        #: Its disk was lost, or replaced by an older copy, in this schedule.
        self.disk_replaced = False
        #: Others refused it on a disk where nothing is: it has to join under its old id.
        self.bootstrapped = False
        #: An older copy of its disk.
        self.copy: Copy | None = None

    # --- life -------------------------------------------------------------------------------------

    def start(self, members: dict[int, str] | None = None, joining: bool = False) -> None:
        """Start the process, on what the disk holds. `members`: the first membership (ids and peer
        URLs), or what a joining member was told.
        """
        world = self.world
        SimJournal.host = SimPeers.host = SimDriver.host = self
        self.machine = StateMachine(self.directory / "state")
        if members is not None and not joining:
            records = [
                Member(member, f"m{member}", (url,)) for member, url in sorted(members.items())
            ]
            self.machine.bootstrap(records, CLUSTER)
        known = self.machine.members.membership()
        if not self.machine.members.cluster_id:
            assert members is not None
            self._told = members
            urls = {member: (url,) for member, url in members.items()}
            voters = frozenset(members) - {self.member}
            known = Membership(voters, frozenset({self.member}), urls)
            if self.disk_replaced:
                known = Membership(frozenset(members), urls=urls)
        if self.member in known.removed:
            self.removed = True
            self.machine.close()
            return
        self.process = process = Process()
        self.busy_until = 0.0
        self.paused = False
        self.handed.clear()
        config = RaftConfig(
            member_id=self.member,
            cluster_id=CLUSTER,
            peers=known.urls,
            learners=known.learners,
            removed=known.removed,
            joining=not self.machine.members.cluster_id,
            directory=self.directory,
            listen_peer_urls=(),
            heartbeat_ms=HEARTBEAT_MS,
            election_ms=ELECTION_MS,
            snapshot_count=world.snapshot_count,
            catchup_entries=world.catchup_entries,
        )
        world.invariants.started(self)
        try:
            self.node = node = SimNode(config, self.machine)
            node.driver._worker._executor = SimExecutor(  # type: ignore[assignment]
                lambda: self.process is process, lambda: self.work_takes, self._worked
            )
            node.driver._flusher = SimExecutor(  # type: ignore[assignment]
                lambda: self.process is process, lambda: self.flush_takes
            )
            self.machine.listen(Listeners(membership=node.reconfigure))
            node.on_removed = self.removed_by_log
            node.on_bootstrapped = self.told_bootstrapped
            node.serve("echo", world.echo)
            member_list = MemberList(node, Identity(self.member, CLUSTER), lambda: self.urls)
            node.on_said_removed = member_list.removal_reported
            node.driver.begin()
        except OSError as error:
            world.trace(f"{self.member} does not start: {error}")
            self.process = None
            self.journal.crash()
            world.loop.call_later(0.2, world.restart, self.member)
            return
        node.driver.run()
        self._background = [
            world.loop.create_task(node.wait_failed()),
            world.loop.create_task(world.asking(self, member_list.run())),
        ]
        for task in self._background:
            task.add_done_callback(lambda done: self._failed(process, done))

    def crash(self, *, silently: bool = False) -> None:
        """The process ends this moment: kill -9, or (`silently`) the power."""
        if self.process is None:
            return
        self.process = None
        for task in self._background:
            task.cancel()
        driver = self.node.driver
        driver.stopped = True
        for timer in (driver._timer, driver._deadline):
            if timer is not None:
                timer.cancel()
        driver.requests._tasks.cancel()
        for tasks in (driver.streams._tasks, driver.incoming._tasks, driver._compaction._tasks):
            tasks.cancel()
        self.journal.crash()
        engine = self.machine.engine
        assert isinstance(engine, MemoryEngine)
        engine.store.crash(self.chance)
        self.world.crashed(self)
        self._waiting.clear()
        self._held.clear()
        self._unread.clear()
        self.peers.live.clear()
        self.world.network.down(self.member, silently=silently)

    def _worked(self) -> None:
        """A piece of work on snapshots is done, and nothing that follows from it."""
        if self.world.dies_in_work and self.chance.random() < DIES_BEHIND_WORK:
            self.world.trace(f"{self.member} dies behind a piece of work")
            self.crash()
            self.world.loop.call_later(0.2, self.world.restart, self.member)

    def _failed(self, process: Process, done: "asyncio.Task[None]") -> None:
        if done.cancelled() or self.process is not process:
            return
        error = done.exception()
        if isinstance(error, OSError):
            self.world.trace(f"{self.member} ends: {error}")
            self.crash()
            self.world.loop.call_later(0.2, self.world.restart, self.member)
        elif isinstance(error, RemovedByPeers):
            self.removed_by_peers()
        elif error is not None:
            self.world.broken(error)

    def removed_by_log(self) -> None:
        """Its own log says that it was removed: the process ends with success."""
        self._end_for_good("its log")

    def removed_by_peers(self) -> None:
        """Peers say that it was removed, at its start or later: the process ends with a failure."""
        self.world.ends_by_peers(self)
        self._end_for_good("its peers")

    def _end_for_good(self, source: str) -> None:
        self.world.trace(f"{self.member} was removed, by {source}")
        self.removed = True
        self.crash()

    def told_bootstrapped(self) -> None:
        if not self.bootstrapped:
            self.world.trace(f"{self.member} was bootstrapped before")
            self.bootstrapped = True
            self.crash()
            self.world.loop.call_later(0.1, self.world.restart, self.member)

    # --- the disk ---------------------------------------------------------------------------------

    def lose_disk(self) -> None:
        """Nothing is left of what the member held; its process is gone."""
        self.disk_replaced = True
        shutil.rmtree(self.directory)
        self.directory.mkdir()

    def copy_disk(self, directory: Path) -> None:
        """Keep a copy of what the disk holds now, when no process runs."""
        shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(self.directory, directory)
        self.copy = Copy(directory, copies_of(directory), self.node.driver.incarnations.own.number)

    def put_copy_back(self) -> None:
        """The disk holds what it held when it was copied."""
        assert self.copy is not None
        self.disk_replaced = True
        shutil.rmtree(self.directory)
        shutil.copytree(self.copy.directory, self.directory)
        stores.update(self.copy.stores)
        self.copy = None

    def stand_alone(self) -> None:
        """`--force-new-cluster`, between two lives of the process."""
        machine = StateMachine(self.directory / "state")
        journal = Journal(self.directory / "wal", segment_bytes=SEGMENT)
        force(journal, machine, lambda: removals(machine.members, self.member))
        # What it holds is the truth from now on.
        self.world.invariants.highest = journal.last_index
        journal.close()
        machine.close()
        end_recovering(self.directory)

    # --- standing still ---------------------------------------------------------------------------

    def stands_still(self, driver: SimDriver, call: Callable[..., Any], *arguments: Any) -> bool:
        """Return whether `call` has to wait; it runs later unless the driver's process is gone."""
        if self.process is None or self.node.driver is not driver:
            return True
        if self.paused:
            self._waiting.append((call, arguments))
            return True
        if self.busy_until > self.world.loop.now:
            process = self.process

            def again() -> None:
                if self.process is process:
                    call(*arguments)

            self.world.loop.call_at(self.busy_until, again)
            return True
        return False

    def pause(self) -> None:
        self.paused = self.process is not None

    def resume(self) -> None:
        if self.paused:
            self.paused = False
            held, self._held = self._held, []
            for member, data in held:
                self.send(member, data)
            waiting, self._waiting = self._waiting, []
            for call, arguments in waiting:
                self.world.loop.call_soon(call, *arguments)
            # As libuv does it: timers first, then what the sockets hold.
            self.world.loop.call_later(READ_AFTER, self._read)

    def flushed(self) -> None:
        """The journal was flushed; on the loop, that held everything up."""
        if self.process is not None and self.node.driver._flushing is None:
            self.busy_until = max(self.busy_until, self.world.loop.now) + self.flush_takes

    def sliced(self) -> None:
        """A slice of a long apply took its time; messages come meanwhile."""
        self.busy_until = max(self.busy_until, self.world.loop.now) + self.slice_takes

    # --- the network's end ------------------------------------------------------------------------

    @property
    def urls(self) -> dict[int, tuple[str, ...]]:
        """The peer URLs of all members by the replicated state, or as a joining member was told."""
        if self.machine.members.cluster_id:
            return dict(self.machine.members.membership().urls)
        return {member: (url,) for member, url in self._told.items()}

    @property
    def runs(self) -> bool:
        """Whether its process is there, and neither stopped nor held up."""
        return (
            self.process is not None and not self.paused and self.busy_until <= self.world.loop.now
        )

    def knows(self, other: "Host") -> bool:
        return other.member in self.peers.urls

    def send(self, member: int, data: bytes) -> None:
        if self.process is None:
            return
        if self.paused:
            self._held.append((member, data))
            return
        self.world.invariants.sent(self, member, data)
        self.world.network.send(self, member, data, max(self.world.loop.now, self.busy_until))

    def connected(self, other: "Host", connection: Connection) -> None:
        if other.member in self.peers.urls and not connection.broken:
            self._connections[other.member] = connection
            if other.member in self.peers.live:
                self.peers.live.pop(other.member)
                self.peers.on_lost(other.member)
            self.peers.live[other.member] = self.world.loop.now + 1e-9
            self.handed.pop(other.member, None)
            self.peers.on_connected(other.member)

    def lost(self, member: int, connection: object) -> None:
        """A connection ended; it may have been replaced since."""
        if self._connections.get(member) is connection and self.peers.live.pop(member, None):
            self.peers.on_lost(member)

    def _read(self) -> None:
        if not self.paused:
            unread, self._unread = self._unread, []
            for message in unread:
                self.received(*message)

    def received(self, sender: int, frames: list[Frame], connection: object) -> None:
        if self.paused or self._unread:
            self._unread.append((sender, frames, connection))
        elif sender in self.peers.live and self._connections.get(sender) is connection:
            self._note_commits(sender, frames)
            self.peers.on_frames(sender, frames)

    def _note_commits(self, sender: int, frames: list[Frame]) -> None:
        core = self.node._core
        if core.joining or core.in_quarantine:
            return  # it takes no entries
        for frame in frames:
            if not isinstance(frame, AppendEntries) or frame.is_heartbeat:
                continue
            before = self.handed.get(sender, Handed(frame.term))
            if before.term != frame.term:
                before = Handed(frame.term)
            joined = self.journal.term_at(frame.prev_index) == frame.prev_term
            if joined or frame.prev_index <= before.end:
                end = max(before.end, frame.prev_index + len(frame.entries))
                committed = max(before.committed, min(frame.commit_index, end))
                self.handed[sender] = Handed(frame.term, end, committed)
