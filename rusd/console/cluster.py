"""The pages `state` and `cluster` of the console: this member, and all of them."""

import time
from collections.abc import Callable
from typing import Protocol

import rusd
from rusd.console.certificates import Certificates
from rusd.console.reports import BackupReport, Heard, Report, Reports
from rusd.proto import rpc_pb2 as rpc
from rusd.raft.interface import Indexes, PeerCalls, Peers, Role
from rusd.rpc.pages import PageRequest
from rusd.state.interface import WithAlarms, WithKeys, WithMembers, WithUsers
from rusd.state.members import Member

_DAY = 86_400.0
_NOTHING = Heard(False, error="not asked yet")


class Node(Role, Indexes, Peers, PeerCalls, Protocol):
    """The part of the Raft node that this room uses."""


class Machine(WithAlarms, WithKeys, WithMembers, WithUsers, Protocol):
    """The part of the state machine in use."""

    @property
    def size(self) -> int:
        """Bytes of the store by etcd's measure."""

    @property
    def size_in_use(self) -> int:
        """Bytes of `size` that hold data."""


class ClusterPages:
    """Finds what the pages show."""

    def __init__(
        self,
        node: Node,
        machine: Machine,
        certificates: Certificates,
        backups: Callable[[], BackupReport | None],
        *,
        name: str,
        quota: int,
        read_only: bool,
    ) -> None:
        """`backups`: what this member knows of them. `name`: of this member. `quota`: the space
        quota in bytes. `read_only`: whether the console may change nothing.
        """
        self._node = node
        self._machine = machine
        self._certificates = certificates
        self._backups = backups
        self._name = name
        self._quota = quota
        self._read_only = read_only
        self.reports = Reports(node, self._report)

    async def state(self, request: PageRequest) -> object:
        """See `Find`."""
        machine = self._machine
        return {
            "name": self._name,
            "member_id": str(self._node.member_id),
            "cluster_id": str(machine.members.cluster_id),
            "version": rusd.__version__,
            "etcd_version": rusd.ETCD_VERSION,
            "read_only": self._read_only,
            "auth_enabled": machine.auth.enabled,
            "now": int(time.time() * 1000),
        }

    async def cluster(self, request: PageRequest) -> object:
        """See `Find`."""
        node, machine = self._node, self._machine
        heard = dict(await self.reports.latest())
        known = max(
            (one.report.index for one in heard.values() if one.report is not None), default=0
        )
        heard[node.member_id] = Heard(True, await self.reports.own(), committed=known)
        now = time.time()
        return {
            "revision": str(machine.store.revision),
            "term": str(node.term),
            "leader": str(node.leader_id),
            "quota": str(self._quota),
            "backups": _shown_backups(heard.get(node.leader_id, _NOTHING).report),
            "alarms": [
                {"member": str(one.member_id), "alarm": rpc.AlarmType.Name(one.kind)}
                for one in machine.alarms
            ],
            "members": [
                self._shown(member, heard.get(member.id, _NOTHING), now)
                for member in machine.members
            ],
        }

    def _shown(self, member: Member, heard: Heard, now: float) -> object:
        shown: dict[str, object] = {
            "id": str(member.id),
            "name": member.name,
            "peer_urls": member.peer_urls,
            "client_urls": member.client_urls,
            "learner": member.is_learner,
            "leader": member.id == self._node.leader_id,
            "reachable": heard.reachable,
            "error": heard.error,
        }
        report = heard.report
        if report is None:
            # (What the leader knows of it.)
            peer = self._node.peer_status().get(member.id)
            index = peer.match_index if peer is not None else 0
            return {**shown, "index": str(index) if index else None, "certificates": []}
        return {
            **shown,
            "version": report.version,
            "term": str(report.term),
            "index": str(report.index),
            "applied": str(report.applied),
            "lag": str(heard.lag),
            "db_size": str(report.db_size),
            "db_in_use": str(report.db_in_use),
            "quota": str(report.quota),
            "certificates": [
                {
                    "what": one.what,
                    "not_after": one.not_after,
                    "days": int((one.not_after - now) // _DAY),
                }
                for one in report.certificates
            ],
        }

    async def _report(self) -> Report:
        node, machine = self._node, self._machine
        return Report(
            version=rusd.__version__,
            term=node.term,
            index=node.commit_index,
            applied=node.applied_index,
            db_size=machine.size,
            db_in_use=machine.size_in_use,
            quota=self._quota,
            certificates=await self._certificates.known(),
            backups=self._backups(),
        )


def _shown_backups(leader: Report | None) -> object:
    """Return the backups as the leader reports them; None without any, or while it does not."""
    if leader is None or leader.backups is None:
        return None
    backups = leader.backups
    return {
        "time": backups.time or None,
        "revision": str(backups.revision),
        "size": str(backups.size),
        "failures": backups.failures,
        "overdue": backups.overdue,
        "archive_behind": backups.archive_behind,
    }
