"""One schedule: members, clients and what goes wrong, from beginning to end."""

import asyncio
import contextvars
import hashlib
import random
import shutil
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import rusd.member.member_list
from rusd.base.errors import Refusal
from rusd.member.errors import RemovedByPeers
from rusd.member.identity import Identity
from rusd.member.member_list import check_not_removed
from rusd.mvcc.hash import hash_kv
from rusd.proto import rpc_pb2 as rpc
from rusd.proto.kv_pb2 import KeyValue
from rusd.raft.transport.incarnations import begin_recovering
from rusd.raft.transport.member_query import Cluster
from rusd.state.command import Kind, MemberAddition, encode
from rusd.state.errors import MemberExists, MemberNotFound, PeerUrlExists
from rusd.state.members import Member
from tests.sim import directories, engine
from tests.sim.clock import SimLoop
from tests.sim.invariants import Invariants, Violation
from tests.sim.member import CLUSTER, ELECTION_MS, Host, Process
from tests.sim.network import FAST, SLOW, Network
from tests.sim.patches import patched

#: Seconds (virtual) of trouble, and those in which everything must be well again.
TROUBLE = 2.0
RECOVERY = 12.0
ELECTION = ELECTION_MS / 1000
#: What the node itself allows a proposal or a read.
REQUEST_TIMEOUT = 5 + 2 * ELECTION


#: The host that asks its peers who the members are.
ASKING: contextvars.ContextVar[Host] = contextvars.ContextVar("asking")


@dataclass
class Call:
    """A proposal or a read of one client."""

    host: Host
    process: Process
    began: float
    key: bytes = b""
    done: bool = False


class World:
    """Everything of one schedule. `run` raises Violation, or returns the hash of its trace."""

    def __init__(self, seed: int, *, quiet: bool = False, tracing: bool = False) -> None:
        """`quiet`: nothing but followers that are cut off and come back; then the leader must stay
        what it is.
        """
        self.seed = seed
        self.chance = random.Random(seed)
        self.loop = SimLoop()
        self.quiet = quiet
        #: Whether a process may die between a piece of work in its thread and what follows.
        self.dies_in_work = not quiet
        self.lines: list[str] = []
        self._tracing = tracing
        self._digest = hashlib.sha256()
        self.invariants = Invariants()
        self.size = self.chance.choice((1, 3, 3, 3, 3, 5))
        if quiet:
            self.size = 3
        #: Disks are lost, or put back by older copies; else members come and go.
        self._disks_fail = self.chance.random() < 0.5
        #: Members that one of them went on without.
        self._left_behind: set[int] = set()
        small = self.chance.random() < 0.5
        self.snapshot_count = 15 if small else 10_000
        self.catchup_entries = 5 if small else 5_000
        self.hosts: dict[int, Host] = {}
        self.network = Network(self)
        self._directory: Path
        self._error: BaseException | None = None
        self.calls: list[Call] = []
        #: Key -> revision, of acknowledged puts; keys that were proposed at all.
        self.acknowledged: dict[bytes, int] = {}
        self._proposed: set[bytes] = set()
        self._newest = 0
        self._number = 0
        self._calm = False
        #: When the leader that is cut off from everybody was cut off: (member, since).
        self._cut_leader: dict[int, float] = {}

    # --- running ----------------------------------------------------------------------------------

    def run(self) -> str:
        """The whole schedule."""
        asyncio.set_event_loop(self.loop)
        self.loop.set_exception_handler(self._unhandled)
        engine.stores.clear()
        self._directory = directories.make()
        asked = patch.object(rusd.member.member_list, "ask_all", self._ask_all)
        with patched(random.Random(self.seed + 1)), asked:
            try:
                self.loop.run_until_complete(self._main())
            finally:
                for host in self.hosts.values():
                    host.crash()
                self._end_tasks()
                self.loop.close()
                asyncio.set_event_loop(None)
                shutil.rmtree(self._directory, ignore_errors=True)
        return self._digest.hexdigest()

    def _end_tasks(self) -> None:
        # Again and again: what a task does at its end may wait for the thread of a dead process.
        while tasks := asyncio.all_tasks(self.loop):
            for task in tasks:
                task.cancel()
            self.loop.run_until_complete(asyncio.wait(tasks, timeout=1.0))

    def trace(self, text: str) -> None:
        line = f"{self.loop.now:9.5f} {text}"
        self._digest.update(line.encode())
        if self._tracing:
            self.lines.append(line)

    def broken(self, error: BaseException) -> None:
        """Something failed outside the main task."""
        if self._error is None:
            self._error = error

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        # (A flush that failed when its process was gone already.)
        if error is not None and not isinstance(error, OSError):
            self.broken(error)

    async def asking(self, host: Host, work: Coroutine[Any, Any, None]) -> None:
        """Do the work of a member that asks its peers who the members are."""
        ASKING.set(host)
        await work

    def ends_by_peers(self, host: Host) -> None:
        """A member is about to end since its peers say that it was removed."""
        try:
            self.invariants.removed_by_peers(host)
        except Violation as error:
            self.broken(error)

    def step(self, host: Host) -> None:
        """A member's turn is over."""
        core = host.node._core
        self.trace(f"{host.member} t{core.term} {core.commit_index} {core.applied_index}")
        try:
            self.invariants.step(host)
            self._steps_down(host)
            if host.member in self._left_behind and host.node.is_leader:
                raise Violation(f"{host.member} leads, which was left behind")
        except Violation as error:
            self.broken(error)

    def crashed(self, host: Host) -> None:
        """A member's process ended; its disk holds what a power loss leaves."""
        try:
            self.invariants.crashed(host)
        except Violation as error:
            self.broken(error)

    def _steps_down(self, host: Host) -> None:
        """CheckQuorum: a leader that nobody can reach leads for one election timeout at most."""
        since = self._cut_leader.get(host.member)
        if since is None or not host.node.is_leader:
            return
        limit = 1.5 * ELECTION + 0.3
        if self.loop.now - since > limit:
            raise Violation(f"{host.member} leads though it is cut off since {since:.3f}")

    async def _main(self) -> None:
        members = {number: f"http://m{number}:1" for number in range(1, self.size + 1)}
        self._members, self._founders = dict(members), dict(members)
        for member in members:
            self.hosts[member] = Host(self, member, self._directory / str(member))
            self.hosts[member].directory.mkdir()
        for host in self.hosts.values():
            host.start(members)
        self.network.tick()
        clients = [self.loop.create_task(self._client()) for _ in range(3)]
        if self.quiet:
            await self._quiet_trouble()
        else:
            trouble = self.loop.create_task(self._trouble())
            changes = self.loop.create_task(self._changes())
            await self._wait(TROUBLE)
            trouble.cancel()
            changes.cancel()
        self._heal()
        await self._until(self._leads_and_follows, "a leader that everybody follows")
        self._calm = True
        await asyncio.gather(*clients)
        await self._until(self._all_done, "an answer to every call", REQUEST_TIMEOUT + 1)
        await self._until(self._agree, "members that agree")
        await self._read_over_slow_links()
        self._check_end()
        if self.size > 2 and not self.quiet and self.seed % 4 == 1:
            await self._force_new_cluster()

    async def _force_new_cluster(self) -> None:
        """One goes on alone; the others are started when it runs."""
        hosts = [host for host in self._voting() if not host.node.is_learner]
        one = self.chance.choice(hosts)
        others = [host for host in self._voting() if host is not one]
        for host in self._voting():
            host.crash()
        self.trace(f"{one.member} is to go on alone")
        one.stand_alone()
        self.restart(one.member)
        await self._until(lambda: one.process is not None and one.node.is_leader, "a leader")
        self._left_behind = {host.member for host in others}
        for host in others:
            self._later(0.5, self.restart, host.member)
        await self._until(lambda: all(host.removed for host in others), "an end of the others")
        await self._wait(2 * ELECTION)
        if not one.node.is_leader:
            raise Violation(f"{one.member} went on alone and leads no more")

    async def _wait(self, seconds: float) -> None:
        end = self.loop.now + seconds
        while self.loop.now < end:
            await asyncio.sleep(min(0.05, end - self.loop.now))
            if self._error is not None:
                raise self._error

    async def _until(
        self, condition: Callable[[], bool], what: str, within: float = RECOVERY
    ) -> None:
        end = self.loop.now + within
        while not condition():
            if self.loop.now > end:
                raise Violation(
                    f"there is not {what} {within:g} s after everything was healed: {self._state()}"
                )
            await self._wait(0.05)

    def _state(self) -> str:
        return "; ".join(
            f"{host.member}: leader {host.node.leader_id}, term {host.node.term}, members "
            f"{[member.id for member in host.machine.members]}, connected "
            f"{sorted(host.peers.live)}, {host.node.pending_proposals} proposals"
            for host in self._alive()
        )

    # --- clients ----------------------------------------------------------------------------------

    async def _client(self) -> None:
        chance = random.Random(self.chance.getrandbits(64))
        while not self._calm:
            await asyncio.sleep(chance.expovariate(1 / 0.04))
            hosts = [host for host in self.hosts.values() if host.process is not None]
            hosts = [host for host in hosts if not host.paused and not host.node.is_learner]
            if not hosts:
                continue
            host = chance.choice(hosts)
            for _ in range(chance.choice((1, 1, 1, 5))):
                if host.process is None:
                    break
                kind = chance.random()
                if kind < 0.07:
                    self._sweep(host)
                elif kind < 0.65:
                    self._put(host)
                elif kind < 0.95:
                    self._read(host)
                else:
                    self._ask(host)

    def _call(self, host: Host, key: bytes = b"") -> Call:
        assert host.process is not None
        call = Call(host, host.process, self.loop.now, key)
        self.calls.append(call)
        return call

    def _put(self, host: Host) -> None:
        self._number += 1
        key = b"k%d" % self._number
        self._proposed.add(key)
        call = self._call(host, key)
        request = rpc.PutRequest(key=key, value=b"v")
        answer = host.node.propose(encode(Kind.PUT, request.SerializeToString()))

        def done(answer: Any) -> None:
            call.done = True
            if answer.exception() is None:
                revision = answer.result().revision
                self.trace(f"{host.member} acknowledges {key.decode()} at {revision}")
                self.acknowledged[key] = revision
                self._newest = max(self._newest, revision)

        answer.add_done_callback(done)

    def _sweep(self, host: Host) -> None:
        """Long work, as sizes go here: delete many keys, put others in their place."""
        self._number += 1
        gone = rpc.DeleteRangeRequest(key=b"s", range_end=b"t")
        puts = [rpc.PutRequest(key=b"s%d-%d" % (self._number, n), value=b"v") for n in range(8)]
        filled = rpc.TxnRequest(success=[rpc.RequestOp(request_put=put) for put in puts])
        for kind, request in ((Kind.DELETE_RANGE, gone), (Kind.TXN, filled)):
            call = self._call(host)
            answer = host.node.propose(encode(kind, request.SerializeToString()))
            answer.add_done_callback(lambda _, call=call: setattr(call, "done", True))

    def _read(self, host: Host) -> Call:
        call, newest = self._call(host), self._newest
        answer = host.node.read_index()

        def done(answer: Any) -> None:
            call.done = True
            if answer.exception() is None and host.machine.store.revision < newest:
                self.broken(
                    Violation(
                        f"stale read: {host.member} is at {host.machine.store.revision}, {newest} "
                        f"was acknowledged before the read began"
                    )
                )

        answer.add_done_callback(done)
        return call

    async def echo(self, member: int, body: bytes) -> bytes:
        """Answers questions between members, sometimes late."""
        await asyncio.sleep(self.chance.choice((0.0, 0.02, 0.2)))
        return body

    def _ask(self, host: Host) -> None:
        """A member asks its leader something; the answer must be to that."""
        leader = host.node.leader_id
        if leader not in host.peers.live:
            return
        self._number += 1
        call, body = self._call(host), b"%d" % self._number

        def done(task: "asyncio.Task[bytes]") -> None:
            call.done = True
            if not task.cancelled() and task.exception() is None and task.result() != body:
                self.broken(
                    Violation(f"{host.member} asked {body!r} and was answered {task.result()!r}")
                )

        asking = host.node.ask(leader, "echo", body, 1.0)
        self.loop.create_task(asking).add_done_callback(done)

    # --- trouble ----------------------------------------------------------------------------------

    def _alive(self) -> list[Host]:
        return [host for host in self.hosts.values() if host.process is not None]

    def _leader(self) -> Host | None:
        leaders = [host for host in self._alive() if host.node.is_leader]
        return max(leaders, key=lambda host: host.node.term, default=None)

    def _any(self) -> Host:
        """A member, the leader more often than others."""
        leader = self._leader()
        if leader is not None and self.chance.random() < 0.4:
            return leader
        return self.chance.choice(list(self.hosts.values()))

    def restart(self, member: int) -> None:
        host = self.hosts[member]
        if host.process is not None or host.removed or not self._heeds(host):
            return
        if host.bootstrapped and not self._rejoins(host):
            self.loop.call_later(0.1, self.restart, member)
            return
        if hasattr(host, "_told"):
            host.start(host._told, joining=True)
        else:
            empty = host.disk_replaced and not any(host.directory.iterdir())
            host.start(self._founders if empty else None)
        self.trace(f"{member} starts")

    def _heeds(self, host: Host) -> bool:
        """Do what a real member does before it takes part (`rusd/member/member_list.py`)."""
        urls = [(url,) for member, url in self._members.items() if member != host.member]
        asking = self.asking(host, check_not_removed(Identity(host.member, CLUSTER), urls))
        try:
            contextvars.copy_context().run(asking.send, None)
        except StopIteration:
            return True
        except RemovedByPeers:
            host.removed_by_peers()
        return False

    async def _ask_all(
        self, urls: Iterable[Sequence[str]], *_: object, **__: object
    ) -> list[Cluster]:
        """`member_query.ask_all`, sent by the host of this context. A start takes no time here."""
        host = ASKING.get()
        asked = {url for each in urls for url in each}
        if host.process is not None:
            await self._pass(host)
        answers = [
            Cluster(
                CLUSTER,
                other.machine.members.membership(),
                index=other.machine.positions()[0].index,
            )
            for other in self._alive()
            if other is not host
            and asked & {self._members.get(other.member, "")}
            and not other.paused
            and other.machine.members.cluster_id
            and not {(host.member, other.member), (other.member, host.member)} & self.network.cut
        ]
        if host.process is not None:
            await self._pass(host)
        return answers

    async def _pass(self, host: Host) -> None:
        """Let a message pass, and a host that stands still go on."""
        await asyncio.sleep(self.chance.uniform(*self.network.latency))
        while not host.runs:
            await asyncio.sleep(0.01)

    def _rejoins(self, host: Host) -> bool:
        """Join under the old id (`--initial-cluster-state=existing`), if anybody can be asked."""
        if hasattr(host, "_told"):
            return True
        others = [one for one in self._alive() if one.machine.members.cluster_id]
        others = [one for one in others if not one.paused and one is not host]
        if not others:
            return False
        host.lose_disk()
        told = max(others, key=lambda one: one.node.applied_index).machine.members
        lives = [one.node.driver.handshake.incarnations().get(host.member, 0) for one in others]
        begin_recovering(host.directory, max(lives))
        host._told = {one.id: one.peer_urls[0] for one in told}
        return True

    async def _trouble(self) -> None:
        kinds = (
            [self._crash] * 5
            + [self._crash_all]
            + [self._partition] * 3
            + [self._one_way] * 2
            + [self._break] * 3
            + [self._pause] * 3
            + [self._slow] * 2
            + [self._fill] * 1
            + [self._transfer] * 3
            + [self._drift] * 1
            + [self._lag] * 2
            + [self._unplug] * 2
            + [self._lose_disk] * 2
            + [self._copy_disk] * 2
            + [self._put_copy_back] * 2
            + [self._restart_behind_slow_links] * 2
        )
        calm = self.chance.choice((0.04, 0.1, 0.25))
        await asyncio.sleep(self.chance.uniform(0.1, 0.6))
        while True:
            await asyncio.sleep(self.chance.expovariate(1 / calm))
            self.chance.choice(kinds)()

    def _later(self, most: float, call: Callable[..., None], *arguments: Any) -> None:
        self.loop.call_later(self.chance.uniform(0.02, most), call, *arguments)

    def _crash(self) -> None:
        host = self._any()
        self.trace(f"crash {host.member}")
        host.crash(silently=self.chance.random() < 0.3)
        self._later(0.8, self.restart, host.member)

    def _crash_all(self) -> None:
        self.trace("crash all")
        for host in list(self.hosts.values()):
            host.crash(silently=self.chance.random() < 0.3)
            self._later(0.5, self.restart, host.member)

    def _cut(self, links: Iterable[tuple[int, int]], most: float = 1.2) -> None:
        links = list(links)
        self.network.cut |= set(links)
        self._later(most, self._uncut, links)
        self._note_cut_leader()

    def _uncut(self, links: list[tuple[int, int]]) -> None:
        self.network.heal(links)
        self._note_cut_leader()

    def _note_cut_leader(self) -> None:
        for member in self.hosts:
            others = self.hosts.keys() - {member}
            cut = all((other, member) in self.network.cut for other in others)
            if not (cut and others):
                self._cut_leader.pop(member, None)
            else:
                self._cut_leader.setdefault(member, self.loop.now)

    def _partition(self) -> None:
        members = list(self.hosts)
        if self.chance.random() < 0.5:
            side = {self._any().member}
        else:
            side = {member for member in members if self.chance.random() < 0.5}
        self.trace(f"cut off {sorted(side)}")
        self._cut((a, b) for a in members for b in members if a != b and (a in side) != (b in side))

    def _one_way(self) -> None:
        member = self._any().member
        others = [other for other in self.hosts if other != member]
        if self.chance.random() < 0.5:
            others = others[:1]
        hears = self.chance.random() < 0.5
        self.trace(f"{member} {'does not hear' if hears else 'is not heard by'} {others}")
        self._cut((other, member) if hears else (member, other) for other in others)

    def _break(self) -> None:
        pairs = sorted(map(sorted, self.network.pairs()))
        if pairs:
            pair = self.chance.choice(pairs)
            self.trace(f"connection of {pair} breaks")
            self.network.break_off(frozenset(pair))

    def _pause(self) -> None:
        host = self._any()
        self.trace(f"{host.member} stands still")
        host.pause()
        self._later(1.0, self._resume, host)

    def _resume(self, host: Host) -> None:
        host.resume()
        # Clients waited with the sockets' buffers full of what they ask.
        if host.process is not None and not host.node.is_learner:
            self._read(host)
            self._put(host)
        if host.member in self._cut_leader:
            self._cut_leader[host.member] = self.loop.now

    def _slow(self) -> None:
        host = self._any()
        host.flush_takes = self.chance.uniform(0.001, 0.08)
        self.trace(f"flushes of {host.member} take {host.flush_takes:.4f}")

    def _unplug(self) -> None:
        """Everybody notices that a member is gone, but it goes on."""
        host = self._any()
        others = [other for other in self.hosts if other != host.member]
        self.trace(f"{host.member} is unplugged")
        for other in others:
            self.network.break_off(frozenset((host.member, other)))
        self._cut([(a, b) for o in others for a, b in ((host.member, o), (o, host.member))])
        # Its clients are still with it.
        for wait in (0.05, 0.1, 0.15, 0.2, 0.25):
            self.loop.call_later(wait, self._ask_there, host)

    def _ask_there(self, host: Host) -> None:
        if host.process is not None and not host.paused and not host.node.is_learner:
            self._read(host)

    def _lag(self) -> None:
        slowest = self.chance.choice((0.02, 0.1, 0.4))
        self.trace(f"messages take up to {slowest}")
        self.network.latency = (0.0002, slowest)
        self._later(1.0, setattr, self.network, "latency", FAST)

    def _restart_behind_slow_links(self) -> None:
        """A follower on whose answers the leader depends is restarted again and again, and its
        clients read: answers to questions of an earlier life arrive in the next one.
        """
        leader = self._leader()
        followers = [host for host in self._alive() if not host.node.is_leader]
        if leader is None or not followers or self.size < 3:
            return
        follower = self.chance.choice(followers)
        self.trace(f"{follower.member} is restarted behind slow links")
        self.network.latency = (0.02, 0.06)
        others = [host.member for host in followers if host is not follower]
        links = [(a, b) for o in others for a, b in ((o, leader.member), (leader.member, o))]
        self._cut(links, 0.8)
        for life in range(3):
            self.loop.call_later(0.25 * life, self._crash_there, follower)
            self.loop.call_later(0.25 * life + 0.02, self.restart, follower.member)
        for count in range(80):
            self.loop.call_later(0.01 * count, self._ask_there, follower)
            self.loop.call_later(0.01 * count, self._tell_there, leader)
            self.loop.call_later(0.01 * count, self._question_there, follower)
        self.loop.call_later(0.8, setattr, self.network, "latency", FAST)

    def _crash_there(self, host: Host) -> None:
        if not self._calm:
            host.crash()

    def _tell_there(self, host: Host) -> None:
        if not (host.process is None or host.paused or host.node.is_learner or self._calm):
            self._put(host)

    def _question_there(self, host: Host) -> None:
        if host.process is not None and not host.paused and not self._calm:
            self._ask(host)

    def _known(self, host: Host, after: int = 0) -> bool:
        """Return whether all other members have recorded an incarnation of this member later than
        number `after`. A member without any record may lose its disk unnoticed: it is a new one.
        """
        others = [other for other in self.hosts.values() if other is not host]
        return all(
            hasattr(other, "node")
            and host.member in other.node.driver.incarnations.peers
            and other.node.driver.incarnations.peers[host.member].incarnation.number > after
            for other in others
            if not other.removed
        )

    def _may_lose_its_disk(self, host: Host) -> bool:
        """One disk is a minority; two would be the loss that no cluster of three survives."""
        whole = not any(other.disk_replaced for other in self.hosts.values())
        return self._disks_fail and self.size > 2 and whole

    def _lose_disk(self) -> None:
        host = self._any()
        if self._may_lose_its_disk(host) and self._known(host):
            self.trace(f"the disk of {host.member} is lost")
            host.crash()
            host.lose_disk()
            self._later(0.5, self.restart, host.member)

    def _copy_disk(self) -> None:
        host = self._any()
        if self._may_lose_its_disk(host) and hasattr(host, "node"):
            self.trace(f"the disk of {host.member} is copied")
            host.crash()
            host.copy_disk(self._directory / f"copy-{host.member}")
            self._later(0.5, self.restart, host.member)

    def _put_copy_back(self) -> None:
        host = self._any()
        copied = host.copy is not None and self._known(host, host.copy.incarnation)
        if copied and self._may_lose_its_disk(host):
            self.trace(f"{host.member} is put on an older copy of its disk")
            host.crash()
            host.put_copy_back()
            self._later(0.5, self.restart, host.member)

    def _fill(self) -> None:
        host = self._any()
        self.trace(f"the disk of {host.member} is full")
        host.disk_full = True
        self._later(0.6, lambda: setattr(host, "disk_full", False))

    def _transfer(self) -> None:
        leader = self._leader()
        if leader is not None:
            target = self.chance.choice(list(self.hosts))
            self.trace(f"{leader.member} hands on to {target}")
            task = self.loop.create_task(leader.node.transfer_leadership(target))
            task.add_done_callback(self._transferred)

    def _transferred(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled():
            error = task.exception()
            if error is not None and not isinstance(error, Refusal):
                self.broken(error)

    def _drift(self) -> None:
        host = self._any()
        if self.chance.random() < 0.5:
            host.clock.set_rate(self.chance.choice((0.8, 0.95, 1.05, 1.25)))
        else:
            host.clock.jump(self.chance.uniform(0.0, 2.0))
        self.trace(f"the clock of {host.member} goes wrong")

    async def _quiet_trouble(self) -> None:
        """Followers are cut off, one after the other, and come back. PreVote: nobody notices."""
        await self._until(self._leads_and_follows, "a leader that everybody follows")
        leader = self._leader()
        assert leader is not None
        term = leader.node.term
        for _ in range(3):
            follower = self.chance.choice(
                [member for member in self.hosts if member != leader.member]
            )
            others = [member for member in self.hosts if member != follower]
            links = [(follower, other) for other in others] + [(o, follower) for o in others]
            self.network.cut |= set(links)
            await self._wait(self.chance.uniform(0.3, 3.0) * ELECTION)
            self.network.heal(links)
            await self._wait(2 * ELECTION)
            await self._stand_still(follower)
            if leader.node.term != term or not leader.node.is_leader:
                raise Violation(
                    f"{follower} came back, or stood still, and leader {leader.member} of term "
                    f"{term} was deposed"
                )

    async def _read_over_slow_links(self) -> None:
        """Followers' reads succeed over links that are slower than their patience."""
        leader = self._leader()
        if leader is None or self.chance.random() < 0.5:
            return
        term = leader.node.term
        self.network.latency = SLOW
        await self._wait(2 * SLOW[1])
        followers = [host for host in self._voting() if host is not leader]
        calls = [self._read(host) for host in followers]
        await self._wait(16 * SLOW[1])  # a connection may break, once
        late = [call.host.member for call in calls if not call.done]
        self.network.latency = FAST
        if late and leader.node.is_leader and leader.node.term == term:
            raise Violation(f"reads of {late} starve over links that take {SLOW}")
        await self._until(self._agree, "members that agree")

    async def _stand_still(self, follower: int) -> None:
        """A follower, or every member, stands still for longer than an election timeout: what
        waits in the sockets shows that nobody is gone.
        """
        hosts = [self.hosts[follower]] if self.chance.random() < 0.3 else list(self.hosts.values())
        for host in hosts:
            host.pause()
        await self._wait(self.chance.uniform(1.0, 5.0) * ELECTION)
        for host in hosts:
            host.resume()
        await self._wait(2 * ELECTION)

    # --- membership -------------------------------------------------------------------------------

    async def _changes(self) -> None:
        """In some schedules: a learner joins, is promoted, a voter is removed."""
        if self.size < 3 or self._disks_fail or self.chance.random() < 0.4:
            return
        await asyncio.sleep(self.chance.uniform(0.2, 0.8))
        kind = self.chance.random()
        if kind < 0.2:
            self._change_at_once()
            return
        if kind < 0.6:
            await self._remove_busy()
            return
        new = max(self.hosts) + 1
        url = f"http://m{new}:1"
        learner = self.chance.random() < 0.5
        addition = MemberAddition(1, Member(new, "", (url,), (), learner))
        if not await self._changed(Kind.MEMBER_ADD, addition.encode()):
            return
        self.trace(f"{new} joins")
        self._members[new] = url
        host = self.hosts[new] = Host(self, new, self._directory / str(new))
        host.directory.mkdir()
        host._told = dict(self._members)
        self.restart(new)
        if learner:
            await asyncio.sleep(self.chance.uniform(0.1, 0.6))
            record = rpc.Member(ID=new).SerializeToString()
            await self._changed(Kind.MEMBER_PROMOTE, record)
        await asyncio.sleep(self.chance.uniform(0.1, 0.6))
        gone = self._any().member
        self.trace(f"{gone} is to be removed")
        if self.chance.random() < 0.5:
            others = [other for other in self.hosts if other != gone]
            self._cut([(a, b) for o in others for a, b in ((gone, o), (o, gone))], 2.0)
        await self._changed(Kind.MEMBER_REMOVE, rpc.Member(ID=gone).SerializeToString())

    async def _remove_busy(self) -> None:
        """A follower with a slow disk and much to flush is removed: the commit of its removal, the
        end of its leader's connection and what other members say reach it during flushes.
        """
        followers = [host for host in self._alive() if not host.node.is_leader]
        if not followers:
            return
        host = self.chance.choice(followers)
        host.flush_takes = self.chance.uniform(0.02, 0.3)
        self.trace(f"{host.member}, whose flushes take {host.flush_takes:.4f}, is to be removed")
        for count in range(100):
            self.loop.call_later(0.01 * count, self._tell_there, host)
        await asyncio.sleep(self.chance.uniform(0.05, 0.4))
        await self._changed(Kind.MEMBER_REMOVE, rpc.Member(ID=host.member).SerializeToString())

    def _change_at_once(self) -> None:
        """Several changes, without waiting for any."""
        for host in self._alive():
            if host.node.is_learner:
                continue
            new = max(self.hosts) + 1 + host.member
            addition = MemberAddition(9, Member(new, "", (f"http://m{new}:1",), (), True))
            host.node.propose(encode(Kind.MEMBER_ADD, addition.encode()))

    async def _changed(self, kind: Kind, body: bytes) -> bool:
        """Propose a change to anybody until it is known to be made."""
        while True:
            hosts = [host for host in self._alive() if not host.paused]
            if hosts:
                host = self.chance.choice(hosts)
                future: asyncio.Future[Any] = self.loop.create_future()

                def settle(answer: Any, future: "asyncio.Future[Any]" = future) -> None:
                    if not future.done():
                        future.set_result(answer.exception())

                host.node.propose(encode(kind, body)).add_done_callback(settle)
                done, _ = await asyncio.wait({future}, timeout=1.0)
                if done:
                    error = future.result()
                    if error is None or isinstance(error, MemberExists | PeerUrlExists):
                        return True
                    if isinstance(error, MemberNotFound):
                        return kind is Kind.MEMBER_REMOVE
            await asyncio.sleep(0.05)

    # --- the end ----------------------------------------------------------------------------------

    def _heal(self) -> None:
        self.trace("heal")
        self.network.heal()
        self.network.latency = FAST
        self._cut_leader.clear()
        self.dies_in_work = False
        for host in self.hosts.values():
            host.resume()
            host.disk_full = False
            host.flush_takes = 0.0
            self.restart(host.member)

    def _voting(self) -> list[Host]:
        return [host for host in self.hosts.values() if not host.removed]

    def _leads_and_follows(self) -> bool:
        for host in self._voting():
            self.restart(host.member)
        hosts = [host for host in self._voting() if host.process is not None]
        leader = self._leader()
        if leader is None:
            return False
        members = leader.machine.members
        followed = {host.node.leader_id for host in hosts}
        # (One that was to join may never have been started.)
        named = {one.id for one in members} & self.hosts.keys()
        return followed == {leader.member} and named <= {host.member for host in hosts}

    def _all_done(self) -> bool:
        return all(call.done for call in self.calls if call.host.process is call.process)

    def _agree(self) -> bool:
        hosts, leader = self._voting(), self._leader()
        if leader is None or not self._leads_and_follows():
            return False  # a process may end only now, of a disk that was full
        positions = {host.machine.positions()[0] for host in hosts if host.process is not None}
        if any(host.process is None for host in hosts):
            return False
        if leader.machine.positions()[0].term != leader.node.term:
            return False  # it has not applied all that earlier leaders committed
        return len(positions) == 1 and all(not host.node.pending_proposals for host in hosts)

    def _check_end(self) -> None:
        hosts = self._voting()
        hashes = {_hash(host) for host in hosts}
        if len(hashes) > 1:
            raise Violation("members with the same position hold different keys")
        store = hosts[0].machine.store
        found = {}
        answer = store.range(rpc.RangeRequest(key=b"k", range_end=b"l"))
        for encoded in answer.kvs:
            kv = KeyValue.FromString(encoded)
            found[kv.key] = kv
        for key, revision in self.acknowledged.items():
            kv = found.get(key)
            if kv is None or kv.mod_revision != revision:
                raise Violation(f"acknowledged write {key!r} at {revision} is lost: {kv}")
        for key, kv in found.items():
            if kv.version != 1:
                raise Violation(f"{key!r} was applied {kv.version} times")
            if key not in self._proposed:
                raise Violation(f"{key!r} was never proposed")
        for host in hosts:
            if host.node.pending_proposals or host.node.driver.requests._open:
                raise Violation(f"{host.member} keeps callbacks of calls that are over")


def _hash(host: Host) -> int:
    slices = hash_kv(
        host.machine.engine, host.machine.store.revision, host.machine.store.compact_revision
    )
    while True:
        try:
            next(slices)
        except StopIteration as end:
            return int(end.value.hash)
