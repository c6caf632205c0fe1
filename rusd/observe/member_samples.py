"""The samples of one member: etcd's metric names over the state of its rooms.

A number has etcd's name only if it means the same here; metrics that rusd does not measure are
omitted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from rusd import ETCD_VERSION
from rusd.observe.health import HealthChecks
from rusd.observe.samples import Sample
from rusd.proto import rpc_pb2 as rpc
from rusd.raft.interface import Indexes, Role
from rusd.state.machine import StateMachine

_ALARMS: dict[int, str] = {number: name for name, number in rpc.AlarmType.items()}


class Node(Role, Indexes, Protocol):
    """The part of the Raft node that this room uses."""

    @property
    def pending_proposals(self) -> int:
        """Proposals of this member that wait for their result."""


class Hub(Protocol):
    """The part of the watch hub in use."""

    @property
    def watchers(self) -> int:
        """Number of watchers."""

    @property
    def slow_watchers(self) -> int:
        """Number of unsynced watchers."""

    @property
    def streams(self) -> int:
        """Number of open watch streams."""


@dataclass
class MemberSamples:
    """Reads the samples; counts changes of the leader (`on_role`)."""

    node: Node
    machine: StateMachine
    hub: Hub
    checks: HealthChecks
    #: The space quota in bytes.
    quota: int
    #: Returns how many logins have failed.
    failed_logins: Callable[[], int] = lambda: 0

    def __post_init__(self) -> None:
        self._leader = 0
        self._leader_changes = 0

    def on_role(self, leader_id: int, term: int, is_leader: bool) -> None:
        """A `rusd.raft.ports.RoleListener`: counts each new leader, not the loss of one."""
        if leader_id and leader_id != self._leader:
            self._leader_changes += 1
        self._leader = leader_id

    def read(self) -> list[Sample]:
        """Returns all samples, now."""
        return [*self._server(), *self._store(), *self._watches(), *self._health()]

    def _server(self) -> list[Sample]:
        node = self.node
        name = f"{node.member_id:x}"
        about = {"server_version": ETCD_VERSION}
        samples = [
            Sample("etcd_server_has_leader", "Whether a leader is known.", node.leader_id != 0),
            Sample("etcd_server_is_leader", "Whether this member leads.", node.is_leader),
            Sample("etcd_server_is_learner", "Whether this member is a learner.", self._learner()),
            Sample(
                "etcd_server_leader_changes_seen_total",
                "Leaders seen.",
                self._leader_changes,
                counter=True,
            ),
            Sample("etcd_server_proposals_committed_total", "Committed index.", node.commit_index),
            Sample("etcd_server_proposals_applied_total", "Applied index.", node.applied_index),
            Sample("etcd_server_proposals_pending", "Waiting proposals.", node.pending_proposals),
            Sample("etcd_server_quota_backend_bytes", "Quota in force.", self.quota),
            Sample("etcd_server_version", "The etcd release served, as a label.", 1, about),
            Sample("etcd_server_id", "This member's id, as a label.", 1, {"server_id": name}),
        ]
        cluster_version = self.machine.members.cluster_version
        if cluster_version:
            # Major and minor only, as in etcd.
            label = {"cluster_version": cluster_version.rpartition(".")[0]}
            samples.append(
                Sample("etcd_cluster_version", "The version agreed on, as a label.", 1, label)
            )
        return samples

    def _learner(self) -> bool:
        member = self.machine.members.get(self.node.member_id)
        return member is not None and member.is_learner

    def _store(self) -> list[Sample]:
        store, machine = self.machine.store, self.machine
        samples = [
            Sample("etcd_mvcc_db_total_size_in_bytes", "Allocated bytes.", machine.size),
            Sample("etcd_mvcc_db_total_size_in_use_in_bytes", "Bytes in use.", machine.size_in_use),
            Sample("rusd_storage_size_in_bytes", "Files and memtables.", machine.engine.size()),
            Sample("etcd_debugging_mvcc_current_revision", "Revision.", store.revision),
            Sample("etcd_debugging_mvcc_compact_revision", "Compacted.", store.compact_revision),
        ]
        auth = self.machine.auth
        samples += [
            Sample("etcd_debugging_auth_revision", "Changes of users and roles.", auth.revision),
            Sample("rusd_auth_enabled", "Whether authentication is on.", auth.enabled),
            Sample(
                "rusd_failed_logins_total",
                "Logins with an unknown user or a wrong password.",
                self.failed_logins(),
                counter=True,
            ),
        ]
        for alarm in self.machine.alarms:
            labels = {
                "server_id": f"{alarm.member_id:x}",
                "alarm_type": _ALARMS.get(alarm.kind, str(alarm.kind)),
            }
            samples.append(Sample("etcd_debugging_server_alarms", "Active alarms.", 1, labels))
        return samples

    def _watches(self) -> list[Sample]:
        hub = self.hub
        return [
            Sample("etcd_debugging_mvcc_watcher_total", "Watchers.", hub.watchers),
            Sample("etcd_debugging_mvcc_slow_watcher_total", "Lagging.", hub.slow_watchers),
            Sample("etcd_debugging_mvcc_watch_stream_total", "Streams.", hub.streams),
        ]

    def _health(self) -> list[Sample]:
        checks = self.checks
        samples = [
            Sample(
                "etcd_server_health_success",
                "Good /health answers.",
                checks.successes,
                counter=True,
            ),
            Sample(
                "etcd_server_health_failures", "Bad /health answers.", checks.failures, counter=True
            ),
        ]
        samples += [
            Sample(
                "etcd_server_healthcheck", "Last result.", passed, {"type": probe, "name": check}
            )
            for (probe, check), passed in checks.latest.items()
        ]
        return samples + [
            Sample(
                "etcd_server_healthchecks_total",
                "Runs of a check.",
                count,
                {"type": probe, "name": check, "status": "success" if passed else "error"},
                counter=True,
            )
            for (probe, check, passed), count in checks.checked.items()
        ]
