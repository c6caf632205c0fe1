"""The samples of a member in /metrics."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rusd.observe.health import HealthChecks
from rusd.observe.member_samples import MemberSamples
from rusd.proto import rpc_pb2 as rpc
from rusd.state.command import Kind, encode
from rusd.state.machine import StateMachine
from tests.unit.support_node import InstantNode, Log

SELF, OTHER = 0x11, 0x22


@dataclass
class Peer:
    connected: bool


class Node(InstantNode):
    """The instant log's node with the numbers of a real one."""

    is_leader = False
    commit_index = 9
    applied_index = 8
    pending_proposals = 1

    def peer_status(self) -> dict[int, Peer]:
        return {OTHER: Peer(False)}


@dataclass
class Hub:
    watchers: int = 3
    slow_watchers: int = 1
    streams: int = field(default=2)


def member(directory: Path) -> tuple[MemberSamples, Node, StateMachine]:
    machine = StateMachine(directory)
    node = Node(Log(), SELF, machine)
    return (
        MemberSamples(node, machine, Hub(), HealthChecks(node, machine), quota=100),
        node,
        machine,
    )


def values(samples: MemberSamples) -> dict[str, list[tuple[float, dict[str, str]]]]:
    found: dict[str, list[tuple[float, dict[str, str]]]] = {}
    for one in samples.read():
        found.setdefault(one.name, []).append((one.value, dict(one.labels)))
    return found


def run(test: Any) -> None:
    asyncio.run(test())


def test_the_numbers_of_all_rooms_are_read(tmp_path: Path) -> None:
    async def test() -> None:
        samples, node, machine = member(tmp_path)
        put = rpc.PutRequest(key=b"k", value=b"v").SerializeToString()
        await node.propose(encode(Kind.PUT, put))
        found = values(samples)
        machine.close()
        for name, value in {
            "etcd_server_has_leader": 0,
            "etcd_server_proposals_committed_total": 9,
            "etcd_server_proposals_applied_total": 8,
            "etcd_server_proposals_pending": 1,
            "etcd_server_quota_backend_bytes": 100,
            "etcd_debugging_mvcc_current_revision": 2,
            "etcd_debugging_mvcc_watcher_total": 3,
        }.items():
            assert found[name] == [(value, {})], name
        assert found["etcd_mvcc_db_total_size_in_bytes"][0][0] > 0

    run(test)


def test_each_new_leader_is_a_change_and_losing_it_is_none(tmp_path: Path) -> None:
    async def test() -> None:
        samples, _, machine = member(tmp_path)
        for leader, term in ((0, 1), (OTHER, 1), (OTHER, 2), (0, 3), (SELF, 3)):
            samples.on_role(leader, term, leader == SELF)
        found = values(samples)
        machine.close()
        assert found["etcd_server_leader_changes_seen_total"] == [(2, {})]

    run(test)


def test_alarms_and_the_cluster_version_show_once_there_are_any(tmp_path: Path) -> None:
    async def test() -> None:
        samples, node, machine = member(tmp_path)
        before = values(samples)
        assert "etcd_cluster_version" not in before
        assert "etcd_debugging_server_alarms" not in before
        await node.propose(encode(Kind.CLUSTER_VERSION, b"3.6.0"))
        alarm = rpc.AlarmRequest(
            action=rpc.AlarmRequest.ACTIVATE, memberID=OTHER, alarm=rpc.NOSPACE
        )
        await node.propose(encode(Kind.ALARM, alarm.SerializeToString()))
        found = values(samples)
        machine.close()
        assert found["etcd_cluster_version"] == [(1, {"cluster_version": "3.6"})]
        assert found["etcd_debugging_server_alarms"] == [
            (1, {"server_id": "22", "alarm_type": "NOSPACE"})
        ]

    run(test)


def test_health_checks_are_counted_by_outcome(tmp_path: Path) -> None:
    async def test() -> None:
        samples, node, machine = member(tmp_path)
        await samples.checks.health((), False)
        node.log.elect(SELF)
        await samples.checks.health((), False)
        await samples.checks.ready("linearizable_read", ())
        found = values(samples)
        machine.close()
        assert found["etcd_server_health_failures"] == [(1, {})]
        assert found["etcd_server_health_success"] == [(1, {})]
        assert found["etcd_server_healthchecks_total"] == [
            (1, {"type": "readyz", "name": "linearizable_read", "status": "success"})
        ]

    run(test)
