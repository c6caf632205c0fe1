"""rusd is replaced by another version under a running cluster, and the cluster is made anew."""

from __future__ import annotations

import os
import time

import pytest

from cluster.compose_tls import MEMBERS
from cluster.kind import store
from cluster.kind.command import TLS

from . import objects
from .cluster import Cluster, run


def replace(cluster: Cluster, image: str) -> None:
    """Give an image to one member after the other."""
    wanted = run("docker", "inspect", "--format", "{{.Id}}", image)
    for member in MEMBERS:
        store.compose(TLS, "up", "--detach", "--no-deps", member, RUSD_IMAGE=image)
        cluster.all_healthy()
        assert run("docker", "inspect", "--format", "{{.Image}}", member) == wanted


def test_members_are_replaced_by_an_earlier_version_and_back(
    cluster: Cluster, namespace: str
) -> None:
    # The engine of the tests has no network.
    earlier = run("sh", "tests/docker/previous-image.sh", env={"PIP_NO_BUILD_ISOLATION": "0"})
    cluster.apply(objects.deployment("1", 2), namespace=namespace)
    cluster.rolled_out("web", namespace)
    for image, version in ((earlier.strip(), "2"), ("rusd:local", "1")):
        replace(cluster, image)
        cluster.kubectl("create", "configmap", f"on-{version}", "-n", namespace)
        cluster.roll("web", namespace, version)
    cluster.ready()
    listed = cluster.kubectl("get", "configmaps", "-n", namespace, "-o", "name").split()
    assert {"configmap/on-1", "configmap/on-2"} <= set(listed)


@pytest.mark.parametrize("subject", ["rusd", "etcd"])
def test_a_cluster_is_made_anew_on_an_empty_store_that_runs_already(
    cluster: Cluster, subject: str
) -> None:
    """The second store is etcd in the same compose file, for comparison."""
    variables = {}
    if subject == "etcd":
        oracle = os.environ.get("RUSD_TEST_ORACLE")
        if oracle is None:
            pytest.skip("RUSD_TEST_ORACLE does not name an etcd")
        variables["RUSD_IMAGE"] = run("sh", "tests/docker/etcd-image.sh", oracle).strip()
    before = cluster.read("namespace", "kube-system")["metadata"]["uid"]
    cluster.down()
    store.compose(TLS, "up", "--detach", **variables)
    cluster.all_healthy()
    cluster.up(
        f"--endpoints={','.join(f'https://{member}:2379' for member in MEMBERS)}",
        f"--cacert={TLS / 'ca.crt'}",
        f"--cert={TLS / 'client.crt'}",
        f"--key={TLS / 'client.key'}",
    )
    cluster.ready()
    assert cluster.read("namespace", "kube-system")["metadata"]["uid"] != before
    print(f"{subject}: node and its readiness {cluster.seconds:.1f} s; {work(cluster)}")


def work(cluster: Cluster) -> str:
    """Run a deployment and return the seconds of its steps."""
    seconds = {}
    started = time.monotonic()
    cluster.apply(objects.deployment("1", 3))
    cluster.rolled_out("web", "default")
    seconds["3 pods"] = time.monotonic() - started
    cluster.kubectl("scale", "deployment/web", "--replicas=10")
    cluster.rolled_out("web", "default")
    seconds["scaled to 10"] = time.monotonic() - started
    cluster.roll("web", "default", "2")
    seconds["rolled"] = time.monotonic() - started
    return ", ".join(f"{name} after {each:.1f} s" for name, each in seconds.items())
