"""Three control planes behind kind's load balancer, on the same three members."""

from __future__ import annotations

import json
from functools import partial

import pytest

from . import objects
from .cluster import Cluster, eventually, run

pytestmark = pytest.mark.parametrize("cluster", [3], indirect=True)

#: Programs of which one leads, by a lease.
LED = ("kube-controller-manager", "kube-scheduler")


def holder(cluster: Cluster, program: str) -> str:
    """The node whose `program` leads."""
    lease = cluster.read("lease", program, "-n", "kube-system")
    return str(lease["spec"]["holderIdentity"]).partition("_")[0]


def leads_elsewhere(cluster: Cluster, program: str, node: str) -> bool:
    return holder(cluster, program) != node


def servers(cluster: Cluster) -> int:
    """How many API servers say that they are there. Each keeps a lease of 15 s in the store."""
    slices = cluster.read("endpointslice", "kubernetes", "-n", "default")
    return sum(len(each["addresses"]) for each in slices["endpoints"])


def test_what_one_api_server_writes_every_other_one_reads(cluster: Cluster, namespace: str) -> None:
    cluster.ready()
    print(f"members, three nodes and their readiness: {cluster.seconds:.1f} s")
    pods = {pod["metadata"]["name"] for pod in cluster.read("pods", "-n", "kube-system")["items"]}
    programs = ("kube-apiserver", *LED)
    assert {f"{program}-{node}" for program in programs for node in cluster.nodes} <= pods
    eventually(lambda: servers(cluster) == len(cluster.nodes), "three API servers")
    inside = ("-n", namespace)
    for node in cluster.nodes:
        cluster.kubectl_at(node, "create", "configmap", f"by-{node}", *inside)
    wanted = {f"configmap/by-{node}" for node in cluster.nodes}
    for node in cluster.nodes:
        assert wanted <= set(cluster.kubectl_at(node, "get", "cm", *inside, "-o", "name").split())


def test_the_leading_control_plane_and_the_leading_member_are_lost_at_once(
    cluster: Cluster, namespace: str
) -> None:
    cluster.connect_pods()
    cluster.kubectl("create", "configmap", "before", "-n", namespace)
    lost, member = holder(cluster, LED[0]), cluster.leader()
    run("docker", "kill", lost, member)
    during = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "during"}}
    cluster.insist("apply", "-n", namespace, "-f", "-", stdin=json.dumps(during))
    for program in LED:
        eventually(partial(leads_elsewhere, cluster, program, lost), f"another {program} leads")
    eventually(lambda: servers(cluster) == len(cluster.nodes) - 1, "one API server less")
    eventually(lambda: lost not in cluster.ready_nodes(), f"{lost} is not ready")
    cluster.apply(objects.deployment("1", 4), objects.service(), namespace=namespace)
    cluster.rolled_out("web", namespace)
    cluster.roll("web", namespace, "2")
    eventually(lambda: cluster.answer("http://web/", namespace) == "version 2", "web serves")
    pods = cluster.read("pods", "-n", namespace, "-l", "app=web")["items"]
    assert lost not in {pod["spec"]["nodeName"] for pod in pods}
    run("docker", "start", member, lost)
    cluster.all_healthy()
    cluster.ready()
    eventually(lambda: servers(cluster) == len(cluster.nodes), "three API servers again")
    listed = cluster.kubectl_at(lost, "get", "configmaps", "-n", namespace, "-o", "name").split()
    assert {"configmap/before", "configmap/during"} <= set(listed)
