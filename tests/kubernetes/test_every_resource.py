"""The API server's cache of every resource holds what the store holds."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from cluster.kubernetes.plane import ControlPlane
from cluster.local import LocalCluster
from cluster.tls import Tls
from tests.kubernetes.metrics import wait_metrics
from tests.kubernetes.store import revisions
from tests.support.kubernetes_api import Api

#: Keys of the API server's own that are not of listed objects: allocated addresses and ports, and
#: which API servers run.
OWN = ("/registry/ranges/", "/registry/masterleases/", "/registry/peerserverleases/")

#: Seconds until the API server has compared the cache of every resource with the store: its first
#: comparison comes 5 to 7.5 minutes after its start.
COMPARED = 540


def lists(api: Api) -> Iterator[str]:
    """The path of every list there is, each in the version that the server prefers."""
    versions = ["/api/v1"]
    for group in api.call("GET", "/apis")["groups"]:
        versions.append(f"/apis/{group['preferredVersion']['groupVersion']}")
    for version in versions:
        for each in api.call("GET", version)["resources"]:
            if "list" in each["verbs"]:
                yield f"{version}/{each['name']}"


def stored(members: LocalCluster, tls: Tls) -> tuple[int, dict[int, str]]:
    """The store's revision; the name of the object by the revision of its key."""
    revision, found = revisions(members, tls, "/registry/")
    return revision, {r: k.rsplit("/", 1)[1] for k, r in found.items() if not k.startswith(OWN)}


def test_the_cache_of_every_resource_holds_what_the_store_holds(
    plane: ControlPlane, members: LocalCluster, tls: Tls
) -> None:
    """One write of the API server is one revision, so that an object's version names its key."""
    api = Api(plane)
    paths = list(lists(api))
    assert len(paths) > 50
    revision, before = stored(members, tls)
    cached: dict[int, str] = {}
    for path in paths:
        options = {"resourceVersion": revision, "resourceVersionMatch": "NotOlderThan"}
        for each in api.call("GET", path, **options)["items"]:
            meta = each["metadata"]
            if "resourceVersion" in meta:
                cached[int(meta["resourceVersion"])] = meta["name"]
    _, after = stored(members, tls)
    unchanged = before.items() & after.items()
    assert len(unchanged) > 200
    assert unchanged <= cached.items(), "the cache lacks objects of the store"
    old = {at: name for at, name in cached.items() if at <= revision}
    assert old.items() <= before.items(), "the cache has objects that the store has not"


@pytest.mark.timeout(COMPARED + 60)
def test_the_api_server_finds_its_caches_consistent(plane: ControlPlane) -> None:
    """Its own comparison of checksums; an API server of these tests ends if one differs."""
    name = "apiserver_storage_consistency_checks_total"
    line = re.compile(rf'^{name}{{.*resource="(\w+)",status="(\w+)"}}', re.MULTILINE)
    wanted = {"configmaps", "pods", "secrets", "leases", "namespaces", "deployments", "nodes"}
    found: list[tuple[str, str]] = []

    def compared(page: str) -> bool:
        found[:] = line.findall(page)
        return wanted <= {resource for resource, status in found if status == "success"}

    wait_metrics(Api(plane), compared, COMPARED, lambda: f"the caches were not compared: {found}")
    assert not [resource for resource, status in found if status == "failure"]
