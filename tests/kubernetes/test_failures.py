"""The control plane goes on while members of its store fail and deployments roll.

Judged each time: the rollout ends, no program but those that may was started again, no object whose
creation was acknowledged is lost, no event of a watch is lost, repeated or out of order. The
longest gap between two writes is printed (`-rP`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from cluster.kubernetes.plane import ControlPlane
from cluster.local import LocalCluster
from cluster.tls import Tls
from tests.kubernetes.store import etcdctl
from tests.kubernetes.test_checks import pods, read
from tests.kubernetes.traffic import Traffic
from tests.support.waiting import wait

#: Seconds that a member is stopped for: longer than the leases of controller manager and scheduler.
PAUSE = 20.0

#: Seconds until a rollout must have ended.
ROLLED = 180.0

#: These end by themselves when they cannot renew their leases, on etcd as well.
MAY_END = {"kube-controller-manager", "kube-scheduler"}

Fault = Callable[[LocalCluster, Tls], None]


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
    ],
    ids=lambda fault: fault.__name__,
)
def test_a_deployment_rolls_while_members_fail(
    plane: ControlPlane, members: LocalCluster, tls: Tls, namespace: str, fault: Fault
) -> None:
    plane.apply(pods("Deployment", "web", replicas=20), namespace=namespace)
    _roll(plane, namespace)
    with Traffic(plane, namespace) as traffic:
        plane.kubectl("set", "image", "deployment/web", "main=any:2", "-n", namespace)
        fault(members, tls)
        members.wait_healthy(60)
        started = _roll(plane, namespace)
    assert started <= MAY_END
    traffic.check()
    print(f"{fault.__name__}: longest gap {traffic.longest_gap:.2f} s, started again: {started}")


def test_the_api_server_is_killed_and_started_again(
    plane: ControlPlane, members: LocalCluster, namespace: str
) -> None:
    plane.apply(pods("Deployment", "web", replicas=20), namespace=namespace)
    _roll(plane, namespace)
    with Traffic(plane, namespace) as traffic:
        plane.kubectl("set", "image", "deployment/web", "main=any:2", "-n", namespace)
        plane.kill("kube-apiserver")
        plane.run("kube-apiserver")
        plane.wait_ready()
        started = _roll(plane, namespace)
    assert started <= MAY_END
    traffic.check()


def _roll(plane: ControlPlane, namespace: str) -> set[str]:
    """Wait until the deployment is as described; return the names of programs started again."""
    started: set[str] = set()
    nudged = time.monotonic()

    # Not `plane.wait`, to which the end of a program is a failure: here some may end.
    def done() -> bool | None:
        nonlocal nudged
        started.update(plane.revive())
        asked = ("get", "deployment/web", "-n", namespace, "-o", "json")
        shown = plane.kubectl_process(*asked)
        if shown.returncode:
            return None
        found = json.loads(shown.stdout)
        status, want = found.get("status", {}), found["spec"]["replicas"]
        counts = [status.get(name) for name in ("replicas", "updatedReplicas", "readyReplicas")]
        if counts == [want] * 3 and status["observedGeneration"] == found["metadata"]["generation"]:
            return True
        if time.monotonic() > nudged + 15:
            _nudge(plane, namespace)
            nudged = time.monotonic()
        return None

    wait(done, "the deployment does not get ready", ROLLED)
    return started


def _nudge(plane: ControlPlane, namespace: str) -> None:
    """Change the pods that are not ready: kwok gives one up whose only patch was refused."""
    for each in read(plane, "pods", "-n", namespace)["items"]:
        if each["status"].get("phase") != "Running" or "deletionTimestamp" in each["metadata"]:
            name = each["metadata"]["name"]
            at = ("-n", namespace, "--overwrite")
            plane.kubectl_process("annotate", "pod", name, f"nudged={time.monotonic()}", *at)
