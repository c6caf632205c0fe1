"""A deployment that is rolled while something fails."""

from __future__ import annotations

import json
import time

from cluster.kubernetes.plane import ControlPlane
from tests.kubernetes.test_checks import pods, read
from tests.support.waiting import wait

#: Seconds until a rollout must have ended.
ROLLED = 180.0

#: These end by themselves when they cannot renew their leases, on etcd as well.
MAY_END = {"kube-controller-manager", "kube-scheduler"}


def deploy(plane: ControlPlane, namespace: str) -> None:
    """A deployment of 20 pods, which are ready when this returns."""
    plane.apply(pods("Deployment", "web", replicas=20), namespace=namespace)
    finish(plane, namespace)


def begin(plane: ControlPlane, namespace: str) -> None:
    """Describe other pods."""
    plane.kubectl("set", "image", "deployment/web", "main=any:2", "-n", namespace)


def finish(plane: ControlPlane, namespace: str) -> set[str]:
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
