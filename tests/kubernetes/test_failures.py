"""The control plane goes on while members of its store fail and deployments roll.

Judged each time: the rollout ends, no program but those that may was started again, no object whose
creation was acknowledged is lost, no event of a watch is lost, repeated or out of order, the API
server's cache holds what the store holds. The longest gap between two writes is printed (`-rP`).
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from cluster.kubernetes.plane import ControlPlane
from cluster.local import LocalCluster
from cluster.tls import Tls
from tests.kubernetes import rollout
from tests.kubernetes.store import etcdctl, revisions
from tests.kubernetes.traffic import Traffic

#: Seconds that a member is stopped for: longer than the leases of controller manager and scheduler.
PAUSE = 20.0

Fault = Callable[[LocalCluster, Tls], None]


@pytest.fixture(autouse=True)
def revived(plane: ControlPlane) -> None:
    """A program that ended after the test before runs again."""
    plane.revive()


def kill_the_leader(members: LocalCluster, tls: Tls) -> None:
    leader = members.leader()
    members.kill(leader)
    members.leader()
    members.restart(leader)


def kill_a_follower(members: LocalCluster, tls: Tls) -> None:
    follower = (members.leader() + 1) % 3
    members.kill(follower)
    members.restart(follower)


def kill_all_members(members: LocalCluster, tls: Tls) -> None:
    members.kill_all()
    members.start_all()


def pause_the_leader(members: LocalCluster, tls: Tls) -> None:
    _pause(members, members.leader())


def pause_a_follower(members: LocalCluster, tls: Tls) -> None:
    _pause(members, (members.leader() + 1) % 3)


def restart_one_after_the_other(members: LocalCluster, tls: Tls) -> None:
    for index in range(3):
        members.restart(index)
        members.wait_healthy(60)


def defragment_all(members: LocalCluster, tls: Tls) -> None:
    etcdctl(members, tls, "defrag")


def compact_to_the_present(members: LocalCluster, tls: Tls) -> None:
    present, _ = revisions(members, tls, "any")
    etcdctl(members, tls, "compact", "--physical", str(present))


def _pause(members: LocalCluster, index: int) -> None:
    members.pause(index)
    time.sleep(PAUSE)
    members.resume(index)


@pytest.mark.parametrize(
    "fault",
    [
        kill_the_leader,
        kill_a_follower,
        kill_all_members,
        pause_the_leader,
        pause_a_follower,
        restart_one_after_the_other,
        defragment_all,
        compact_to_the_present,
    ],
    ids=lambda fault: fault.__name__,
)
def test_a_deployment_rolls_while_members_fail(
    plane: ControlPlane, members: LocalCluster, tls: Tls, namespace: str, fault: Fault
) -> None:
    rollout.deploy(plane, namespace)
    with Traffic(plane, namespace) as traffic:
        rollout.begin(plane, namespace)
        fault(members, tls)
        members.wait_healthy(60)
        started = rollout.finish(plane, namespace)
    assert started <= rollout.MAY_END
    traffic.check(members, tls)
    print(f"{fault.__name__}: longest gap {traffic.longest_gap:.2f} s, started again: {started}")


def test_the_api_server_is_killed_and_started_again(
    plane: ControlPlane, members: LocalCluster, tls: Tls, namespace: str
) -> None:
    rollout.deploy(plane, namespace)
    with Traffic(plane, namespace) as traffic:
        rollout.begin(plane, namespace)
        plane.kill("kube-apiserver")
        plane.run("kube-apiserver")
        plane.wait_ready()
        started = rollout.finish(plane, namespace)
    assert started <= rollout.MAY_END
    traffic.check(members, tls)
    print(f"longest gap {traffic.longest_gap:.2f} s, started again: {started}")
