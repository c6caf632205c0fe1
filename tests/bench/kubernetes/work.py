"""The work of one round: objects, lists, a deployment, and the deletion of all of it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cluster.kubernetes.plane import ControlPlane
from cluster.local import LocalCluster
from tests.bench import costs
from tests.support.kubernetes_api import Api, Failed, config_maps

NAMESPACE = "bench"

AT_ONCE = 10
LISTS = 20

#: Nodes that kwok plays, which take 110 pods each.
NODES = 10

#: Seconds that a rollout, or the end of the namespace, may take.
PATIENCE = 300.0

#: Seconds between two looks at what the controllers have done.
POLL = 0.05

#: Text of a config map of about 1 kB.
TEXT = "x" * 700

DEPLOYMENT = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"

#: Sums of the calls that the API server made to the store, by operation.
_SERIES = re.compile(
    r'^etcd_request_duration_seconds_(sum|count)\{[^}]*operation="(\w+)"[^}]*\} (\S+)$',
    re.MULTILINE,
)
OPERATIONS = ("create", "update", "get", "delete", "list")


@dataclass(frozen=True)
class Size:
    """How much work a round is."""

    objects: int = 1000
    replicas: int = 50


def measure(plane: ControlPlane, members: LocalCluster, size: Size) -> dict[str, float]:
    """Do the work on a fresh control plane; what was measured by the title of its row."""
    api = Api(plane)
    plane.kubectl("create", "namespace", NAMESPACE)
    plane.kubectl("wait", "--for=create", "serviceaccount/default", "-n", NAMESPACE)
    found: dict[str, float] = {}
    calls, cpu, started = _requests(api), costs.cpu_seconds(members), time.monotonic()

    @contextmanager
    def timed(title: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        found[f"{title}, s"] = time.monotonic() - begun

    path, count = config_maps(NAMESPACE), size.objects

    def create(name: str) -> None:
        api.call("POST", path, _config_map(name))

    names = [f"together-{number}" for number in range(count)]
    with timed(f"create {count:,} objects, {AT_ONCE} at once"), ThreadPoolExecutor(AT_ONCE) as many:
        list(many.map(create, names))
    with timed(f"create {count:,} objects, one by one"):
        for number in range(count):
            create(f"alone-{number}")
    with timed(f"get {count:,} objects, one by one"):
        for number in range(count):
            api.call("GET", f"{path}/alone-{number}")
    with timed(f"list {2 * count:,} objects, {LISTS} times"):
        for _ in range(LISTS):
            listed = api.call("GET", path)["items"]
            assert len(listed) >= 2 * count, len(listed)
    api.call("POST", DEPLOYMENT, _deployment(3))
    _rolled_out(api, 3, "any:1")
    web, patch = f"{DEPLOYMENT}/web", "application/merge-patch+json"
    with timed(f"scale a deployment from 3 to {size.replicas}"):
        api.call("PATCH", web, {"spec": {"replicas": size.replicas}}, content_type=patch)
        _rolled_out(api, size.replicas, "any:1")
    with timed(f"roll {size.replicas} pods"):
        changed = {"spec": {"template": _template("any:2")}}
        api.call("PATCH", web, changed, content_type=patch)
        _rolled_out(api, size.replicas, "any:2")
    with timed("delete the namespace"):
        api.call("DELETE", f"/api/v1/namespaces/{NAMESPACE}")
        _wait(lambda: _gone(api), "the namespace does not end")
    found["all of the work, s"] = time.monotonic() - started
    found |= _means(calls, _requests(api))
    found["CPU of all members, s"] = costs.cpu_seconds(members) - cpu
    memory = costs.mean_memory(members)
    found["resident memory of a member, MiB"] = memory.resident
    found["anonymous memory of a member, MiB"] = memory.anonymous
    return found


# --- objects --------------------------------------------------------------------------------------


def _config_map(name: str) -> dict[str, object]:
    meta = {"name": name}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"text": TEXT}}


def _template(image: str) -> dict[str, object]:
    spec = {"containers": [{"name": "main", "image": image}]}
    return {"metadata": {"labels": {"app": "web"}}, "spec": spec}


def _deployment(replicas: int) -> dict[str, object]:
    selector = {"matchLabels": {"app": "web"}}
    spec = {"replicas": replicas, "selector": selector, "template": _template("any:1")}
    meta = {"name": "web"}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec}


# --- waiting --------------------------------------------------------------------------------------


def _rolled_out(api: Api, replicas: int, image: str) -> None:
    """Wait until so many pods of this image are ready, and no others are there."""

    def done() -> bool:
        found: dict[str, Any] = api.call("GET", f"{DEPLOYMENT}/web")
        status = found.get("status", {})
        counts = [status.get(name) for name in ("replicas", "updatedReplicas", "readyReplicas")]
        seen = status.get("observedGeneration") == found["metadata"]["generation"]
        named = found["spec"]["template"]["spec"]["containers"][0]["image"]
        return seen and counts == [replicas] * 3 and named == image

    _wait(done, f"{replicas} pods of {image} do not get ready")


def _gone(api: Api) -> bool:
    try:
        api.call("GET", f"/api/v1/namespaces/{NAMESPACE}")
    except Failed as failed:
        return failed.code == 404
    return False


def _wait(look: Callable[[], bool], failure: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not look():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{failure} in {PATIENCE:g} s")
        time.sleep(POLL)


# --- the API server's own measurement -------------------------------------------------------------


def _requests(api: Api) -> dict[tuple[str, str], float]:
    """Seconds ("sum") and number ("count") of calls to the store, by operation."""
    totals: dict[tuple[str, str], float] = {}
    for kind, operation, value in _SERIES.findall(api.text("/metrics")):
        totals[kind, operation] = totals.get((kind, operation), 0.0) + float(value)
    return totals


def _means(
    before: dict[tuple[str, str], float], after: dict[tuple[str, str], float]
) -> dict[str, float]:
    """Mean time of the calls between two looks."""
    means = {}
    for operation in OPERATIONS:
        seconds, calls = (
            after.get((kind, operation), 0.0) - before.get((kind, operation), 0.0)
            for kind in ("sum", "count")
        )
        if calls:
            means[f"the API server's {operation} in the store, mean, ms"] = seconds / calls * 1000
    return means
