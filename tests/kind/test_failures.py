"""Kubernetes goes on while its members fail: killed, paused, lost, restarted."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from cluster.compose_tls import MEMBERS
from cluster.kind import store
from cluster.kind.command import TLS

from . import objects
from .cluster import NODE, Cluster, eventually, run


@pytest.fixture
def kept(cluster: Cluster, namespace: str) -> Iterator[str]:
    """A namespace with a serving deployment; what it holds before and after the failure is whole.

    The test writes in it while members are down.
    """
    cluster.apply(objects.deployment("1", 2), objects.service(), namespace=namespace)
    cluster.kubectl("create", "configmap", "before", "-n", namespace)
    cluster.rolled_out("web", namespace)
    yield namespace
    cluster.all_healthy()
    cluster.ready()
    cluster.kubectl("create", "configmap", "after", "-n", namespace)
    listed = cluster.kubectl("get", "configmaps", "-n", namespace, "-o", "name").split()
    assert {"configmap/before", "configmap/during", "configmap/after"} <= set(listed)
    for member in MEMBERS:
        keys = cluster.etcdctl(
            "get", f"/registry/configmaps/{namespace}/", "--prefix", "--keys-only", members=[member]
        )
        assert {"before", "during", "after"} <= {key.rpartition("/")[2] for key in keys.split()}
    cluster.rolled_out("web", namespace)
    eventually(lambda: "version" in cluster.answer("http://web/", namespace), "web serves")


def write(cluster: Cluster, namespace: str) -> None:
    """Create the config map `during`, as soon as the store accepts it."""
    during = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "during"}}
    cluster.insist("apply", "-n", namespace, "-f", "-", stdin=json.dumps(during))


def test_a_deployment_rolls_while_the_leader_is_killed(cluster: Cluster, kept: str) -> None:
    leader = cluster.leader()
    run("docker", "kill", leader)
    write(cluster, kept)
    cluster.roll("web", kept, "2")
    run("docker", "start", leader)


def test_a_deployment_rolls_while_the_leader_is_paused(cluster: Cluster, kept: str) -> None:
    leader = cluster.leader()
    run("docker", "pause", leader)
    try:
        write(cluster, kept)
        cluster.roll("web", kept, "2")
    finally:
        run("docker", "unpause", leader)


def test_a_member_whose_volume_is_lost_is_replaced(cluster: Cluster, kept: str) -> None:
    lost, others = MEMBERS[2], MEMBERS[:2]
    run("docker", "rm", "--force", lost)
    run("docker", "volume", "rm", f"{store.PROJECT}_{lost}")
    write(cluster, kept)
    listed = cluster.etcdctl("member", "list", members=others).splitlines()
    identity = next(line.split(",")[0] for line in listed if lost in line)
    cluster.etcdctl("member", "remove", identity, members=others)
    peers = f"--peer-urls=https://{lost}:2380"
    eventually(
        lambda: "added" in cluster.etcdctl("member", "add", lost, peers, members=others), "added"
    )
    store.compose(TLS, "up", "--detach", "--no-deps", lost, RUSD_CLUSTER_STATE="existing")
    cluster.all_healthy()


def test_every_member_is_restarted_one_after_the_other(cluster: Cluster, kept: str) -> None:
    for member in MEMBERS:
        run("docker", "restart", member)
        cluster.all_healthy()
    write(cluster, kept)
    cluster.roll("web", kept, "2")


def test_all_members_are_killed_and_start_again(cluster: Cluster, kept: str) -> None:
    run("docker", "kill", *MEMBERS)
    run("docker", "start", *MEMBERS)
    write(cluster, kept)
    cluster.roll("web", kept, "2")


def test_the_node_is_restarted(cluster: Cluster, kept: str) -> None:
    run("docker", "restart", NODE)
    cluster.ready()
    write(cluster, kept)
    cluster.roll("web", kept, "2")
