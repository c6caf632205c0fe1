"""One member: the rooms put together, started and stopped. The one place where they meet.

    door ── api ──┬── state ── mvcc ── storage
                  ├── watch ──┘
                  └── raft (journal, peers)

Everything runs on one event loop. What must end the process (a broken turn, a full or damaged
disk) comes out of `wait_failed`.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any

from rusd import ETCD_VERSION
from rusd.api.auth import AuthService
from rusd.api.cluster import ClusterService
from rusd.api.health import HealthService
from rusd.api.kv import KV, Limits
from rusd.api.lease import LeaseService, minimum_ttl
from rusd.api.maintenance import MaintenanceService
from rusd.api.strict_reconfig import StrictCheck
from rusd.api.watch import WatchService
from rusd.base.logs import get_logger
from rusd.config.config import Config
from rusd.door.grpc.server import GrpcDoor
from rusd.door.http.server import HttpDoor
from rusd.door.time_budget import Budget
from rusd.door.tls.context import client_tls
from rusd.lease.ids import LeaseIds
from rusd.lease.lessor import LeaseKeeper
from rusd.maintenance.auto_compaction import AutoCompaction, ByRevision, Periodic, Policy
from rusd.maintenance.compactor import Compactor
from rusd.maintenance.corruption_check import Corruption
from rusd.maintenance.disk_space import Space
from rusd.maintenance.leadership_transfer import Handover
from rusd.member.bootstrap import (
    REMOVED,
    Bootstrapped,
    establish,
    heed_removal,
    inquire,
    membership,
    stand_alone,
)
from rusd.member.data_directory import prepare
from rusd.observe.health import Probes
from rusd.observe.metrics import CallCounts, Metrics
from rusd.observe.readings import Readings
from rusd.raft.config import RaftConfig
from rusd.raft.node import RaftNode
from rusd.raft.ports import Membership
from rusd.raft.transport.member_query import ask_all
from rusd.rpc.errors import STOPPED, EtcdError, Removed, SaidRemoved
from rusd.rpc.guards.leader import PATIENCE_IN_ELECTIONS, RequireLeader
from rusd.rpc.guards.learner import RoleMethods
from rusd.rpc.guards.quota import DEFAULT_QUOTA, Quota
from rusd.state.command import Kind, encode
from rusd.state.machine import StateMachine
from rusd.state.members import Member as MemberRecord
from rusd.watch.hub import WatchHub
from rusd.wire.header import Headers

log = get_logger(__name__)

#: Seconds for calls under way when the member stops.
DRAIN = 1.0
#: Seconds between two questions of a member without a leader who the members are.
ASK_AROUND = 2.0
#: Least seconds between two, whatever others say.
ASK_PAUSE = 0.5
#: Seconds between two tries to publish this member, at first and at most.
PUBLISH_AGAIN, PUBLISH_AGAIN_MAX = 0.1, 5.0
#: The cluster version the members agree on: major and minor of the etcd release served.
CLUSTER_VERSION = ".".join(ETCD_VERSION.split(".")[:2]) + ".0"


class Member:
    """A member as configured; `start`, then `wait_failed` until `stop`."""

    def __init__(self, config: Config, on_ready: Callable[[], None] = lambda: None) -> None:
        """`on_ready` is called once, when clients are served and the cluster knows this member."""
        self._config = config
        self._on_ready = on_ready
        self._built = False
        self._tasks: list[asyncio.Task[None]] = []
        self._calls = CallCounts()

    async def start(self) -> None:
        """Open the data, join the others, publish this member, serve.

        Raises ConfigError (data that is not a member's), StorageError, JournalError or OSError (a
        port that is taken).
        """
        loop = asyncio.get_running_loop()
        self._failure: asyncio.Future[None] = loop.create_future()
        loop.set_exception_handler(self._on_loop_exception)
        prepare(self._config)
        self._cluster = await inquire(self._config)
        self._build()
        await heed_removal(self._identity, self._others())
        await self._node.start()
        config = self._config
        if config.initial_corrupt_check:
            await self._corruption.check_before_serving(config.election_timeout / 1000)
        for work in (
            self._keeper.run(),
            self._agree_on_version(),
            self._watch_raft(),
            self._ask_around(),
            self._handover.run(),
        ):
            self._run(work)
        if config.corrupt_check_time > 0:
            self._run(self._corruption.check_every(config.corrupt_check_time))
        if config.compact_hash_check:
            self._run(self._corruption.check_compactions_every(config.compact_hash_check_time))
        if self._policy is not None:
            self._run(AutoCompaction(self._policy, self._node, self._machine.store).run())
        if self._machine.store.finished_compact_revision < self._machine.store.compact_revision:
            self._compactor.schedule(self._machine.store.compact_revision)
        await self._http.start(
            (*config.listen_metrics_urls, *config.listen_client_http_urls), self._tls
        )
        # Clients may come before the member is published: reads of its own state need nobody,
        # and the rest waits for a leader as it would at any other time.
        await self._door.start(config.listen_client_urls, self._tls)
        self._run(self._publish())

    async def stop(self) -> None:
        """Hand leadership on, drain, close; also after a start that failed half way."""
        if not self._built:
            return
        self._health.drain()
        await self._node.stop()
        self._hub.close(STOPPED)
        await self._door.stop(DRAIN)
        await self._http.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._compactor.stop()
        self._machine.close()

    async def wait_failed(self) -> None:
        """Raises what ended this member."""
        await self._failure

    # Building

    def _build(self) -> None:
        config = self._config
        state = StateMachine(config.member_path / "state")
        try:
            self._assemble(state)
        except BaseException:
            state.close()
            raise
        self._built = True

    def _assemble(self, machine: StateMachine) -> None:
        config = self._config
        loop = asyncio.get_running_loop()
        self._machine = machine
        if config.force_new_cluster:
            stand_alone(config, machine)
        self._identity = establish(config, machine, self._cluster)
        member_id, cluster_id = self._identity
        members = membership(config, machine)
        self._node = node = RaftNode(
            RaftConfig(
                member_id=member_id,
                cluster_id=cluster_id,
                peers=members.urls,
                learners=members.learners,
                removed=members.removed,
                started=members.started,
                joining=not machine.members.cluster_id,
                directory=config.member_path,
                wal_directory=config.wal_path,
                listen_peer_urls=config.listen_peer_urls,
                heartbeat_ms=config.heartbeat_interval,
                election_ms=config.election_timeout,
                snapshot_count=config.snapshot_count,
                catchup_entries=config.snapshot_catchup_entries,
                unsafe_no_fsync=config.unsafe_no_fsync,
            ),
            machine,
        )
        election = config.election_timeout / 1000
        headers = Headers(cluster_id, member_id, lambda: node.term)
        gate = RequireLeader(loop, lambda: node.leader_id, PATIENCE_IN_ELECTIONS * election)
        node.on_role(gate.on_role)
        self._hub = WatchHub(
            machine.store,
            loop,
            headers.field,
            progress_interval=config.watch_progress_notify_interval,
            max_request_bytes=config.max_request_bytes,
        )
        self._compactor = Compactor(
            machine.store,
            config.compaction_batch_limit,
            config.compaction_sleep_interval,
            self._fail,
        )
        machine.on_events = self._hub.publish
        machine.on_compacted = self._compactor.schedule
        machine.on_restoring = self._compactor.pause
        machine.on_restored = self._restored
        machine.on_damage = self._fail
        machine.on_membership = self._membership_changed
        node.on_removed = lambda: self._fail(Removed(REMOVED))
        node.on_bootstrapped = lambda: self._fail(Bootstrapped(member_id))
        self._corruption = Corruption(node, machine.store, machine.members)
        self._keeper = LeaseKeeper(node, machine, election, node.clock.now)
        space = Space((config.member_path, config.wal_path))
        self._handover = Handover(node, space, lambda: machine.members.membership().voters)
        quota = Quota(
            config.quota_backend_bytes,
            lambda: machine.size,
            node,
            scarce=space.scarce,
        )
        db_quota = config.quota_backend_bytes or DEFAULT_QUOTA
        self._health = HealthService()
        shared = (node, machine, headers, gate)
        services = (
            KV(
                *shared,
                quota,
                self._compactor,
                Limits(config.max_txn_ops, config.max_request_bytes),
            ),
            LeaseService(
                *shared,
                quota,
                self._keeper,
                LeaseIds(member_id, int(time.time() * 1000)),
                minimum_ttl(election),
            ),
            WatchService(self._hub, gate),
            ClusterService(
                *shared,
                StrictCheck(member_id, machine.members, node.connected_since)
                if config.strict_reconfig_check
                else None,
                max_learners=config.max_learners,
                clock=loop.time,
            ),
            MaintenanceService(*shared, db_quota),
            AuthService(*shared),
            self._health,
        )
        methods = {
            path: method for service in services for path, method in service.methods().items()
        }
        self._calls.expect(methods)
        self._methods = RoleMethods(methods)
        self._methods.learner(member_id in members.learners)
        probes = Probes(node, machine)
        readings = Readings(node, machine, self._hub, probes, quota=db_quota)
        node.on_role(readings.on_role)
        budget = Budget()
        metrics = Metrics(readings.read, self._calls).render
        self._http = HttpDoor(probes, metrics, budget=budget)
        self._tls = client_tls(config)
        # With URLs of its own for HTTP/1.1, the others speak gRPC only.
        shares = not config.listen_client_http_urls
        self._door = GrpcDoor(
            self._methods.served,
            max_request_bytes=config.max_request_bytes,
            max_concurrent_streams=config.max_concurrent_streams,
            memory_budget=config.client_memory_bytes,
            keepalive_min_time=config.grpc_keepalive_min_time,
            keepalive_interval=config.grpc_keepalive_interval,
            keepalive_timeout=config.grpc_keepalive_timeout,
            started=self._calls.start,
            finished=self._calls.count,
            pages=self._http.pages.serve if shares else None,
            http=self._http.protocol if shares else None,
            budget=budget,
        )
        self._policy = _policy(config)

    def _membership_changed(self, membership: Membership) -> None:
        self._node.reconfigure(membership)
        self._methods.learner(self._node.member_id in membership.learners)

    def _restored(self) -> None:
        self._hub.restored()
        self._compactor.resume()

    # Failure

    def _fail(self, error: BaseException) -> None:
        if not self._failure.done():
            self._failure.set_exception(error)

    def _on_loop_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A callback failed: of a timer or an event. Its room's state is unknown."""
        error = context.get("exception")
        log.critical(
            "unhandled failure", extra={"fields": {"where": context["message"]}}, exc_info=error
        )
        if error is not None and "handle" in context:
            self._fail(error)

    async def _watch_raft(self) -> None:
        await self._node.wait_failed()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(self._task_ended)
        self._tasks.append(task)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    # Background work

    async def _publish(self) -> None:
        """Tell the cluster this member's name and client URLs, through Raft, until it knows."""
        member = MemberRecord(
            id=self._node.member_id,
            name=self._config.name,
            client_urls=tuple(map(str, self._config.advertise_client_urls)),
        )
        payload = encode(Kind.MEMBER_ATTRIBUTES, member.message().SerializeToString())
        wait = PUBLISH_AGAIN
        while True:
            try:
                # Who is published holds something; else its disk was lost, to those that meet it
                # for the first time (`raft/handshake.py`). A snapshot for it may be on its way.
                await self._node.read_index()
                await self._node.propose(payload)
                break
            except EtcdError as error:
                if error is STOPPED:
                    return
                log.warning("cannot publish yet", extra={"fields": {"error": str(error)}})
            await asyncio.sleep(wait)
            wait = min(2 * wait, PUBLISH_AGAIN_MAX)
        log.info(
            "published local member to cluster through raft",
            extra={"fields": {"local-member-id": f"{member.id:x}", "name": member.name}},
        )
        for url in self._config.client_urls:
            log.info("ready to serve client requests", extra={"fields": {"address": url}})
        self._on_ready()

    async def _agree_on_version(self) -> None:
        """The leader sets the cluster version once."""
        while True:
            await asyncio.sleep(1)
            if self._node.is_leader and self._machine.members.cluster_version != CLUSTER_VERSION:
                payload = encode(Kind.CLUSTER_VERSION, CLUSTER_VERSION.encode())
                try:
                    await self._node.propose(payload)
                except EtcdError as error:
                    log.warning("cluster version not set", extra={"fields": {"error": str(error)}})

    def _others(self, but: Collection[int] = ()) -> list[Sequence[str]]:
        """Peer URLs of the others, as far as this member knows."""
        known = membership(self._config, self._machine).urls
        return [
            urls
            for member, urls in known.items()
            if member != self._identity.member_id and member not in but
        ]

    async def _ask_around(self) -> None:
        """A member without a leader asks who the members are, one with a leader those it has no
        connection to. It may have been removed while it was away, or the leader may be one that
        joined meanwhile, or moved to other URLs. A member that is told that it was removed asks as
        well: a frame proves nothing, the answer at a peer's own address does. (One is enough, as
        for etcd: a removal is for ever, and of a cluster that was forced to begin anew there is one
        member.)"""
        node = self._node
        said = asyncio.Event()
        node.on_said_removed = said.set
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ASK_AROUND):
                    await said.wait()
            connected = [member for member, is_ in node.peer_status().items() if is_.connected]
            others = self._others(connected if node.leader_id and not said.is_set() else ())
            said.clear()
            for found in await ask_all(others):
                if found.id != self._identity.cluster_id:
                    continue
                if node.member_id in found.membership.removed:
                    self._fail(SaidRemoved(REMOVED))
                    return
                if not node.leader_id:
                    node.meet(found.membership, found.index)
            await asyncio.sleep(ASK_PAUSE)


def _policy(config: Config) -> Policy | None:
    """The automatic compaction asked for."""
    if not config.retention:
        return None
    if config.auto_compaction_mode == "revision":
        return ByRevision(int(config.retention))
    return Periodic(config.retention)
