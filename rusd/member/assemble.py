"""Builds every component of one member, and connects them.

Each component is built once, from the configuration and from the components below it. Every hook
between two of them is set at the end of `assemble`. `member.py` starts what is built here.
"""

import asyncio
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rusd.api.auth import AuthService
from rusd.api.cluster import ClusterService
from rusd.api.election import ElectionService
from rusd.api.health import HealthService
from rusd.api.kv import KVService, Limits
from rusd.api.lease import LeaseService, minimum_ttl
from rusd.api.lock import LockService
from rusd.api.maintenance import MaintenanceService
from rusd.api.own_client import OwnServices
from rusd.api.password_work import PasswordWork
from rusd.api.strict_reconfig import StrictReconfigCheck
from rusd.api.watch import WatchService
from rusd.backup.archive import Archiver, SegmentNames
from rusd.backup.scheduled import Backups, Directory, Names, Place, Retention, Schedule
from rusd.backup.snapshot_files import SnapshotFiles
from rusd.base.free_space import on_disk_of
from rusd.base.line_file import LineFile
from rusd.base.supervised import Fail
from rusd.config import Config, ConfigError
from rusd.console.backups import backup_report
from rusd.console.certificates import Certificates
from rusd.console.cluster import ClusterPages
from rusd.console.console import Console
from rusd.console.json_pages import JsonPages
from rusd.console.read_only import ReadOnly
from rusd.console.readings import member_series
from rusd.console.recorder import Recorder
from rusd.console.samples import Samples
from rusd.door.gateway import BODY_PER_MESSAGE, Gateway
from rusd.door.gateway.paths import OLD_ROOT, ROOT
from rusd.door.grpc.server import OVERHEAD_BYTES, GrpcDoor
from rusd.door.http.access import AccessControl, Origins
from rusd.door.http.body import BODY_LIMIT, BODY_MEMORY, BodyMemory
from rusd.door.http.router import Router
from rusd.door.http.server import HttpDoor
from rusd.door.time_budget import TimeBudget
from rusd.door.tls.context import ClientTls, client_tls
from rusd.door.tls.peer import PeerTls
from rusd.lease.ids import LeaseIds
from rusd.lease.lessor import Lessor
from rusd.maintenance.auto_compaction import AutoCompaction, ByRevision, Periodic
from rusd.maintenance.compactor import Compactor
from rusd.maintenance.corruption_check import CorruptionCheck
from rusd.maintenance.disk_space import RESERVE, DiskSpace
from rusd.maintenance.leadership_transfer import LowDiskTransfer
from rusd.member.bootstrap import Bootstrapped
from rusd.member.cluster_version import ClusterVersion
from rusd.member.data_directory import REVISION_TIMES
from rusd.member.errors import Removed
from rusd.member.identity import REMOVED, Identity, known_membership
from rusd.member.key_files import warn_if_exposed
from rusd.member.member_list import MemberList
from rusd.member.pages import debug_pages, member_pages
from rusd.member.sessions import Sessions
from rusd.member.tokens import token_provider
from rusd.observe.backup_samples import ArchiveSamples, BackupSamples
from rusd.observe.health import HealthChecks
from rusd.observe.loop_watchdog import LoopWatchdog
from rusd.observe.member_samples import MemberSamples
from rusd.observe.metrics import CallMetrics, Metrics
from rusd.observe.operation_samples import OperationSamples
from rusd.observe.process_samples import ProcessSamples
from rusd.observe.raft_samples import RaftSamples
from rusd.observe.round_trips import RoundTrips
from rusd.observe.stacks import stacks
from rusd.raft.config import RaftConfig
from rusd.raft.node import RaftNode
from rusd.raft.ports import Membership
from rusd.rpc.audit import AuditLog, left_out
from rusd.rpc.authentication import Authenticator
from rusd.rpc.errors import described
from rusd.rpc.guards.audit import audited
from rusd.rpc.guards.authentication import Authentication
from rusd.rpc.guards.chain import guarded
from rusd.rpc.guards.leader import PATIENCE_IN_ELECTIONS, LeaderOnly, RequireLeader
from rusd.rpc.guards.learner import LearnerRestriction, RoleMethods
from rusd.rpc.guards.quota import DEFAULT_QUOTA, Quota
from rusd.rpc.guards.timing import timed
from rusd.rpc.guards.validation import Validation
from rusd.rpc.methods import CallCounts, Methods
from rusd.rpc.pages import DirectPage
from rusd.rpc.request_log import RequestLog
from rusd.state.command import FEATURES
from rusd.state.listeners import Listeners
from rusd.state.machine import StateMachine
from rusd.watch.hub import WatchHub
from rusd.wire.header import Headers


@dataclass(frozen=True, slots=True)
class Components:
    """Components of one member: the parts that are started, stopped or run."""

    machine: StateMachine
    node: RaftNode
    hub: WatchHub
    lessor: Lessor
    compactor: Compactor
    snapshots: SnapshotFiles
    backups: Backups | None
    archiver: Archiver | None
    auto_compaction: AutoCompaction | None
    corruption: CorruptionCheck
    low_disk_transfer: LowDiskTransfer
    member_list: MemberList
    watchdog: LoopWatchdog
    round_trips: RoundTrips
    cluster_version: ClusterVersion
    health: HealthService
    sessions: Sessions
    door: GrpcDoor
    #: HTTP for clients, and on `--listen-metrics-urls`.
    http: HttpDoor
    metrics_http: HttpDoor
    gateway: Gateway | None
    console: Console
    tls: ClientTls | None


def assemble(
    config: Config,
    machine: StateMachine,
    identity: Identity,
    peers: PeerTls,
    fail: Fail,
    opened: ExitStack,
) -> Components:
    """Build the components above `machine`. Opens Raft's journal and the audit log; starts nothing.

    `peers`: TLS of the peer URLs. `fail` is called with an error after which the member must end.
    `opened` closes what was opened here, after a failure too.
    Raises ConfigError (TLS files that cannot be used), JournalError.
    """
    loop = asyncio.get_running_loop()
    member_id, cluster_id = identity
    election = config.election_timeout / 1000
    members = known_membership(config, machine)
    tls = client_tls(config)
    if tls is not None:
        warn_if_exposed(config.key_file)
    for key in (config.peer_key_file, config.peer_client_key_file):
        warn_if_exposed(key)

    node = RaftNode(_raft_config(config, machine, identity, members, peers), machine, described)
    opened.callback(node.close)
    headers = Headers(cluster_id, member_id, node.term)
    require_leader = RequireLeader(loop, lambda: node.leader_id, PATIENCE_IN_ELECTIONS * election)

    hub = WatchHub(
        machine.store,
        loop,
        headers.field,
        progress_interval=config.watch_progress_notify_interval,
        max_request_bytes=config.max_request_bytes,
    )
    cluster_version = ClusterVersion(node, machine.members)
    lessor = Lessor(node, machine.leases, election, node.clock.now)

    space = DiskSpace((config.member_path, config.wal_path))
    compactor = Compactor(
        machine.store, config.compaction_batch_limit, config.compaction_sleep_interval, fail
    )
    auto_compaction = _auto_compaction(config, node, machine)
    corruption = CorruptionCheck(node, machine.store, machine.members)
    low_disk_transfer = LowDiskTransfer(node, space, lambda: machine.members.membership().voters)
    member_list = MemberList(node, identity, lambda: known_membership(config, machine).urls, peers)

    max_size = config.quota_backend_bytes or DEFAULT_QUOTA
    quota = Quota(config.quota_backend_bytes, lambda: machine.size, node, scarce=space.scarce)
    strict = StrictReconfigCheck(member_id, machine.members, node.connected_since)
    limits = Limits(config.max_txn_ops, config.max_request_bytes)
    lease_ids = LeaseIds(member_id, int(time.time() * 1000))
    health = HealthService()
    tokens = token_provider(config)
    authenticator = Authenticator(machine.auth, tokens, node, certificates=config.client_cert_auth)
    passwords = PasswordWork(config.bcrypt_cost)
    opened.callback(passwords.close)
    audit = _audit_log(config, opened)
    watches = WatchService(
        hub, authenticator, machine.auth, *(() if audit is None else (audit.watch_denied,))
    )
    authentication = AuthService(node, machine, headers, tokens, passwords, loop.time)
    sessions = Sessions(tokens, watches)
    shared = (node, machine, headers)
    kv = KVService(*shared, compactor, authenticator, limits)
    leases = LeaseService(*shared, lessor, authenticator, lease_ids, minimum_ttl(election))
    checks_of_keys = (quota, Validation(), Authentication(authenticator, machine.auth))
    basic = _table((kv, leases, watches))
    own = OwnServices(guarded(basic, checks_of_keys), basic, machine.auth, fail)
    snapshots = SnapshotFiles(
        config.member_path / "exports", machine.checkpoint, reserve=2 * RESERVE
    )
    backups, archiver = _backups(config, node, snapshots, identity)
    maintenance = MaintenanceService(*shared, max_size, snapshots)
    methods = _table(
        (
            kv,
            leases,
            watches,
            LockService(own),
            ElectionService(own),
            ClusterService(
                *shared,
                authenticator,
                strict if config.strict_reconfig_check else None,
                max_learners=config.max_learners,
                clock=loop.time,
            ),
            maintenance,
            authentication,
            health,
        )
    )
    # What is checked before a method runs, in etcd's order.
    guards = (require_leader, *checks_of_keys, LeaderOnly(lambda: node.is_leader))
    voter, learner = guarded(methods, guards), guarded(methods, (LearnerRestriction(), *guards))
    if config.metrics == "extensive":
        voter, learner = timed(voter), timed(learner)
    if audit is not None:
        voter, learner = audited(voter, audit), audited(learner, audit)
    by_role = RoleMethods(voter, learner)

    advisory = {} if backups is None else {"backup": backups.overdue}
    if archiver is not None:
        advisory["archive"] = archiver.overdue
    checks = HealthChecks(node, machine, cluster_version.decided, advisory)
    samples = MemberSamples(
        node,
        machine,
        hub,
        checks,
        quota=max_size,
        failed_logins=lambda: authentication.failed_logins,
    )
    operations = OperationSamples(
        machine.store.counts,
        machine.engine.write_seconds,
        lessor.counts,
        compactor.counts,
        hub,
        maintenance,
    )
    watchdog = LoopWatchdog(config.heartbeat_interval / 2000)

    budget = TimeBudget()
    unknown_calls = CallCounts()
    metrics = Metrics(
        (
            *(samples, RaftSamples(node), operations, ProcessSamples(), watchdog),
            *([] if backups is None else [BackupSamples(backups)]),
            *([] if archiver is None else [ArchiveSamples(archiver)]),
        ),
        CallMetrics(methods, unknown_calls),
    )
    pages = member_pages(checks, metrics.render, budget)
    origins = Origins(config.cors, config.host_names)
    limit = config.max_request_bytes + OVERHEAD_BYTES
    # (Also of a member that shows no console: those of the others ask it.)
    console = Console(
        ClusterPages(
            node,
            machine,
            Certificates([*([] if tls is None else tls.certificates), *peers.certificates]),
            lambda: backup_report(backups, archiver),
            name=config.name,
            quota=max_size,
            read_only=config.console_read_only,
        ),
        Recorder(
            machine,
            Samples(member_series(node, machine, hub, methods, machine.engine.write_seconds)),
            config.member_path / REVISION_TIMES,
        ),
    )
    gateway: Gateway | None = None
    routes = {**pages, **debug_pages(node, stacks if config.enable_pprof else None)}
    sockets: tuple[str, ...] = ()
    direct: dict[str, DirectPage] = {}
    if config.enable_grpc_gateway:
        gateway = Gateway(
            by_role.served,
            limit,
            lambda: config.client_cert_auth and machine.auth.enabled,
            config.max_concurrent_streams,
            budget,
        )
        opened.callback(gateway.close)
        routes |= {ROOT: gateway.page, OLD_ROOT: gateway.page}
        sockets = (ROOT, OLD_ROOT)
        direct = {ROOT: gateway.begin, OLD_ROOT: gateway.begin}
        if config.console_read_only:
            reading = ReadOnly(gateway)
            routes |= {ROOT: reading.page, OLD_ROOT: reading.page}
            direct = {ROOT: reading.begin, OLD_ROOT: reading.begin}
        if config.enable_console:
            routes |= console.pages(JsonPages(by_role.served, origins), lambda: machine.store)
    access = AccessControl(Router(routes, sockets, direct), origins, config.host_whitelist)
    body = max(BODY_LIMIT, int(BODY_PER_MESSAGE * limit))
    body_memory = BodyMemory(max(BODY_MEMORY, 4 * body), body)
    http = HttpDoor(access, fail, body_memory, budget)
    metrics_http = HttpDoor(Router(pages), fail, budget=budget)
    # With URLs of its own for HTTP/1.1, the client URLs speak gRPC only.
    shares = not config.listen_client_http_urls
    door = GrpcDoor(
        by_role.served,
        fail=fail,
        max_request_bytes=config.max_request_bytes,
        max_concurrent_streams=config.max_concurrent_streams,
        memory_budget=config.client_memory_bytes,
        keepalive_min_time=config.grpc_keepalive_min_time,
        keepalive_interval=config.grpc_keepalive_interval,
        keepalive_timeout=config.grpc_keepalive_timeout,
        unknown_calls=unknown_calls,
        pages=access.serve if shares else None,
        http=http.protocol if shares else None,
        body_memory=body_memory,
        budget=budget,
        request_log=RequestLog(config.warning_unary_request_duration, time.time),
        origins=origins,
    )

    # Every hook between two components: what happens there, and what is called then.

    def membership_changed(changed: Membership) -> None:
        node.reconfigure(changed)
        by_role.set_learner(member_id in changed.learners)

    def restored() -> None:
        hub.restored()
        compactor.resume()
        snapshots.replaced()

    machine.listen(
        Listeners(
            events=hub.publish,
            compacted=compactor.schedule,
            membership=membership_changed,
            leases=lessor,
            before_restore=compactor.pause,
            restored=restored,
            session=tokens.assign,
            auth_changed=sessions.auth_changed,
            damage=fail,
        )
    )
    machine.auth.on_change(tokens.end)
    node.on_role(headers.on_role)
    node.on_role(lessor.role_changed)
    node.on_role(require_leader.on_role)
    node.on_role(cluster_version.on_role)
    node.on_role(samples.on_role)
    if backups is not None:
        node.on_role(backups.on_role)
    if archiver is not None:
        node.on_role(archiver.on_role)
    node.on_removed = lambda: fail(Removed(REMOVED))
    node.on_said_removed = member_list.removal_reported
    node.on_bootstrapped = lambda: fail(Bootstrapped(member_id))
    by_role.set_learner(member_id in members.learners)

    return Components(
        machine=machine,
        node=node,
        hub=hub,
        lessor=lessor,
        compactor=compactor,
        snapshots=snapshots,
        backups=backups,
        archiver=archiver,
        auto_compaction=auto_compaction,
        corruption=corruption,
        low_disk_transfer=low_disk_transfer,
        member_list=member_list,
        watchdog=watchdog,
        round_trips=RoundTrips(node),
        cluster_version=cluster_version,
        health=health,
        sessions=sessions,
        door=door,
        http=http,
        metrics_http=metrics_http,
        gateway=gateway,
        console=console,
        tls=tls,
    )


def _raft_config(
    config: Config, machine: StateMachine, identity: Identity, members: Membership, tls: PeerTls
) -> RaftConfig:
    return RaftConfig(
        member_id=identity.member_id,
        cluster_id=identity.cluster_id,
        peers=members.urls,
        learners=members.learners,
        removed=members.removed,
        started=members.started,
        joining=not machine.members.cluster_id,
        directory=config.member_path,
        wal_directory=config.wal_path,
        listen_peer_urls=config.listen_peer_urls,
        features=FEATURES,
        slow_apply=config.warning_apply_duration,
        tls=tls,
        reuse_port=config.socket_reuse_port,
        heartbeat_ms=config.heartbeat_interval,
        election_ms=config.election_timeout,
        first_election_soon=config.initial_election_tick_advance,
        snapshot_count=config.snapshot_count,
        catchup_entries=config.snapshot_catchup_entries,
        unsafe_no_fsync=config.unsafe_no_fsync,
    )


def _audit_log(config: Config, opened: ExitStack) -> AuditLog | None:
    """The log that `--audit-log` asks for; None without it. Raises ConfigError."""
    if not config.audit_log:
        return None
    try:
        file = LineFile(config.audit_log, lambda count: left_out(count, time.time))
    except OSError as error:
        raise ConfigError(f"--audit-log: {config.audit_log}: {error.strerror}") from None
    opened.callback(file.close)
    return AuditLog(file, time.time)


def _backups(
    config: Config, node: RaftNode, snapshots: SnapshotFiles, identity: Identity
) -> tuple[Backups | None, Archiver | None]:
    """The backups and the archive between them that the flags ask for."""
    if not config.backup_interval:
        return None, None
    own_disks = (config.member_path, config.wal_path)
    place, names = _place(config), Names(identity.cluster_id, identity.member_id)

    def reserve(path: Path) -> int:
        return 2 * RESERVE if on_disk_of(path, own_disks) else 0

    schedule = Schedule(config.backup_interval, Retention(*config.backups_kept))
    backups = Backups(node, snapshots, place, names, schedule, reserve=reserve)
    if not config.backup_archive_interval:
        return backups, None
    archiver = Archiver(
        node,
        place,
        names,
        SegmentNames(identity.cluster_id, identity.member_id),
        config.backup_archive_interval,
        backups.demand,
        reserve=reserve,
    )
    backups.before_named(archiver.precede)
    backups.on_made(archiver.backed_up)
    return backups, archiver


def _place(config: Config) -> Place:
    """Where `--backup-dir` is. Raises ConfigError."""
    if config.backup_bucket is None:
        return Directory(Path(config.backup_dir))
    try:
        from rusd.backup.scheduled.bucket import Bucket
    except ImportError as error:
        raise ConfigError(f"--backup-dir {config.backup_dir}: needs rusd[s3] ({error})") from None
    try:
        return Bucket(*config.backup_bucket, config.member_path / "exports" / "backup")
    except OSError as error:
        raise ConfigError(f"--backup-dir {config.backup_dir}: {error}") from None


def _auto_compaction(
    config: Config, node: RaftNode, machine: StateMachine
) -> AutoCompaction | None:
    """The automatic compaction that the flags ask for."""
    if not config.retention:
        return None
    if config.auto_compaction_mode == "revision":
        return AutoCompaction(ByRevision(int(config.retention)), node, machine.store)
    return AutoCompaction(Periodic(config.retention), node, machine.store)


class _Service(Protocol):
    """A service of etcd's API."""

    def methods(self) -> Methods:
        """The service's methods by gRPC path."""


def _table(services: Iterable[_Service]) -> Methods:
    """The methods of all services by gRPC path."""
    return {path: method for service in services for path, method in service.methods().items()}
