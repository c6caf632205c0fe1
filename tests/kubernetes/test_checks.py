"""Everyday use of a cluster by kubectl."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from typing import Any

import pytest

from cluster.kubernetes.plane import LOGGED, ControlPlane, PlaneError

WAIT = "--timeout=120s"


def read(plane: ControlPlane, *arguments: str) -> Any:
    """Return the output of `kubectl get`."""
    return json.loads(plane.kubectl("get", *arguments, "-o", "json"))


def pods(kind: str, name: str, **spec: object) -> dict[str, object]:
    """A workload of pods that are labelled with its name."""
    labels = {"app": name}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "main", "image": "any:1"}]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": labels}, "template": template, **spec},
    }


def addresses(plane: ControlPlane, namespace: str, service: str) -> list[Any]:
    """The ready endpoints of a service."""
    label = f"kubernetes.io/service-name={service}"
    found = read(plane, "endpointslices", "-l", label, "-n", namespace)["items"]
    return [e for each in found for e in each["endpoints"] or [] if e["conditions"]["ready"]]


def wait_allowed(plane: ControlPlane, *arguments: str) -> None:
    """Until a call of kubectl succeeds: bindings take effect when the API server has seen them."""
    allowed = plane.kubectl_process
    plane.wait(lambda: allowed(*arguments).returncode == 0, 30, "the binding is not seen")


# --- the control plane ----------------------------------------------------------------------------


def test_the_server_is_of_the_version_that_was_built(plane: ControlPlane) -> None:
    shown = json.loads(plane.kubectl("version", "-o", "json"))
    assert shown["serverVersion"]["gitVersion"] == shown["clientVersion"]["gitVersion"]


@pytest.mark.parametrize("path", ["/healthz/etcd", "/livez/etcd", "/readyz/etcd-readiness"])
def test_the_store_is_healthy_to_the_api_server(plane: ControlPlane, path: str) -> None:
    assert plane.kubectl("get", "--raw", path) == "ok"


def test_nodes_are_ready_and_renew_their_leases(plane: ControlPlane) -> None:
    def renewals() -> dict[str, str]:
        leases = read(plane, "leases", "-n", "kube-node-lease")["items"]
        return {each["metadata"]["name"]: each["spec"].get("renewTime") for each in leases}

    first = renewals()
    assert len(first) == 10
    plane.wait(lambda: all(renewals()[n] != at for n, at in first.items()), 60, "not renewed")


# --- objects --------------------------------------------------------------------------------------


def test_a_config_map_is_created_changed_and_deleted(plane: ControlPlane, namespace: str) -> None:
    at = ("-n", namespace)
    plane.kubectl("create", "configmap", "settings", "--from-literal=colour=red", *at)
    patch = '{"data":{"colour":"blue"}}'
    plane.kubectl("patch", "configmap", "settings", "-p", patch, *at)
    assert read(plane, "configmap", "settings", *at)["data"] == {"colour": "blue"}
    plane.kubectl("delete", "configmap", "settings", *at)
    assert "NotFound" in plane.kubectl_process("get", "configmap", "settings", *at).stderr


def test_a_replacement_of_an_old_version_conflicts(plane: ControlPlane, namespace: str) -> None:
    at = ("-n", namespace)
    plane.kubectl("create", "configmap", "settings", *at)
    old = plane.kubectl("get", "configmap", "settings", "-o", "json", *at)
    plane.kubectl("label", "configmap", "settings", "seen=once", *at)
    with pytest.raises(PlaneError, match="Conflict"):
        plane.kubectl("replace", "-f", "-", *at, stdin=old)


def test_a_secret_and_a_token_of_a_service_account(plane: ControlPlane, namespace: str) -> None:
    at = ("-n", namespace)
    plane.kubectl("create", "secret", "generic", "key", "--from-literal=a=b", *at)
    assert read(plane, "secret", "key", *at)["data"] == {"a": "Yg=="}
    plane.kubectl("delete", "secret", "key", *at)
    assert "NotFound" in plane.kubectl_process("get", "secret", "key", *at).stderr
    plane.kubectl("create", "serviceaccount", "robot", *at)
    token = plane.kubectl("create", "token", "robot", *at)
    server = (f"--server={plane.url}", f"--certificate-authority={plane.authority}")
    user = ("--kubeconfig=/dev/null", f"--token={token.strip()}")
    shown = plane.kubectl_process("auth", "whoami", *server, *user)
    assert "robot" in shown.stdout, shown.stderr


def test_a_role_allows_what_it_names_and_no_more(plane: ControlPlane, namespace: str) -> None:
    at = ("-n", namespace)
    plane.kubectl("create", "role", "reader", "--verb=get,list", "--resource=configmaps", *at)
    plane.kubectl("create", "rolebinding", "readers", "--role=reader", "--user=ann", *at)

    def may(verb: str, resource: str) -> bool:
        asked = plane.kubectl_process("auth", "can-i", verb, resource, "--as=ann", *at)
        return asked.stdout.strip() == "yes"

    plane.wait(lambda: may("list", "configmaps"), 30, "the binding is not seen")
    assert not may("delete", "configmaps") and not may("list", "secrets")
    denied = plane.kubectl_process("get", "secrets", "--as=ann", *at)
    assert "Forbidden" in denied.stderr


def test_a_cluster_role_reaches_every_namespace(plane: ControlPlane, namespace: str) -> None:
    plane.kubectl("create", "clusterrole", "seer", "--verb=list", "--resource=secrets")
    binding = ("clusterrolebinding", "seers")
    plane.kubectl("create", *binding, "--clusterrole=seer", "--user=eve")
    try:
        for asked in (namespace, "kube-system"):
            wait_allowed(plane, "get", "secrets", "--as=eve", "-n", asked)
        denied = plane.kubectl_process("get", "configmaps", "--as=eve", "-n", namespace)
        assert "Forbidden" in denied.stderr
    finally:
        plane.kubectl("delete", *binding)
        plane.kubectl("delete", "clusterrole", "seer")


def test_every_update_changes_the_version(plane: ControlPlane, namespace: str) -> None:
    def version() -> int:
        shown = read(plane, "configmap", "settings", "-n", namespace)
        return int(shown["metadata"]["resourceVersion"])

    plane.kubectl("create", "configmap", "settings", "-n", namespace)
    seen = [version()]
    for number in range(3):
        label = ("label", "configmap", "settings", f"seen={number}", "--overwrite")
        plane.kubectl(*label, "-n", namespace)
        seen.append(version())
    assert seen == sorted(set(seen))


def test_a_quota_refuses_one_pod_too_many(plane: ControlPlane, namespace: str) -> None:
    at = ("-n", namespace)
    plane.kubectl("create", "quota", "few", "--hard=pods=2", *at)
    plane.kubectl("wait", "--for=jsonpath={.status.used.pods}=0", "quota/few", WAIT, *at)
    for number in range(2):
        plane.kubectl("run", f"pod-{number}", "--image=any", *at)
    with pytest.raises(PlaneError, match="exceeded quota"):
        plane.kubectl("run", "pod-2", "--image=any", *at)


def test_server_side_apply_tells_a_conflict_of_owners(plane: ControlPlane, namespace: str) -> None:
    def owned(colour: str) -> str:
        made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}}
        return json.dumps(made | {"data": {"colour": colour}})

    at = ("apply", "--server-side", "-f", "-", "-n", namespace)
    plane.kubectl(*at, "--field-manager=ann", stdin=owned("red"))
    with pytest.raises(PlaneError, match="conflict"):
        plane.kubectl(*at, "--field-manager=bob", stdin=owned("blue"))
    plane.kubectl(*at, "--field-manager=bob", "--force-conflicts", stdin=owned("blue"))
    assert read(plane, "configmap", "settings", "-n", namespace)["data"] == {"colour": "blue"}


def test_a_large_object_is_stored_and_one_too_large_refused(
    plane: ControlPlane, namespace: str
) -> None:
    at = ("create", "-n", namespace, "-f", "-")
    text = "x" * 900_000
    meta = {"name": "large"}
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"text": text}}
    plane.kubectl(*at, stdin=json.dumps(made))
    assert read(plane, "configmap", "large", "-n", namespace)["data"]["text"] == text
    # Less than the API server takes (3 MiB), and more than the store does.
    wordy = pods("Deployment", "wordy", replicas=0)
    spec: Any = wordy["spec"]
    spec["template"]["spec"]["containers"][0]["args"] = ["x" * 1_600_000]
    with pytest.raises(PlaneError, match="etcdserver: request is too large"):
        plane.kubectl(*at, stdin=json.dumps(wordy))
    assert "NotFound" in plane.kubectl_process("get", "deployment", "wordy", "-n", namespace).stderr


# --- workloads ------------------------------------------------------------------------------------


def test_a_deployment_is_scaled_rolled_and_rolled_back(plane: ControlPlane, namespace: str) -> None:
    at = ("-n", namespace)
    rolled = ("rollout", "status", "deployment/web", WAIT, *at)
    plane.apply(pods("Deployment", "web", replicas=3), namespace=namespace)
    plane.kubectl(*rolled, timeout=130)
    plane.kubectl("scale", "deployment/web", "--replicas=50", *at)
    plane.kubectl(*rolled, timeout=130)
    assert len(read(plane, "pods", *at)["items"]) >= 50
    plane.kubectl("set", "image", "deployment/web", "main=any:2", *at)
    plane.kubectl(*rolled, timeout=130)
    plane.kubectl("rollout", "undo", "deployment/web", *at)
    plane.kubectl(*rolled, timeout=130)
    template = read(plane, "deployment", "web", *at)["spec"]["template"]
    assert template["spec"]["containers"][0]["image"] == "any:1"


def test_a_paused_deployment_waits(plane: ControlPlane, namespace: str) -> None:
    at = ("-n", namespace)
    rolled = ("rollout", "status", "deployment/web", WAIT, *at)
    plane.apply(pods("Deployment", "web", replicas=2), namespace=namespace)
    plane.kubectl(*rolled, timeout=130)
    plane.kubectl("rollout", "pause", "deployment/web", *at)
    plane.kubectl("set", "image", "deployment/web", "main=any:2", *at)
    plane.kubectl("wait", "--for=condition=Progressing=Unknown", "deployment/web", WAIT, *at)
    assert len(read(plane, "replicasets", *at)["items"]) == 1
    plane.kubectl("rollout", "resume", "deployment/web", *at)
    plane.kubectl(*rolled, timeout=130)
    assert len(read(plane, "replicasets", *at)["items"]) == 2


def test_a_stateful_set_and_a_daemon_set(plane: ControlPlane, namespace: str) -> None:
    at = ("-n", namespace)
    stateful = pods("StatefulSet", "db", replicas=3, serviceName="db")
    plane.apply(stateful, pods("DaemonSet", "agent"), namespace=namespace)
    plane.kubectl("rollout", "status", "statefulset/db", WAIT, *at, timeout=130)
    plane.kubectl("rollout", "status", "daemonset/agent", WAIT, *at, timeout=130)
    names = {each["metadata"]["name"] for each in read(plane, "pods", *at)["items"]}
    assert {"db-0", "db-1", "db-2"} <= names and len(names) == 13


def test_a_job_completes(plane: ControlPlane, namespace: str) -> None:
    at = ("-n", namespace)
    plane.kubectl("create", "job", "once", "--image=any", *at)
    plane.kubectl("wait", "--for=condition=Complete", "job/once", WAIT, *at, timeout=130)


def test_a_cron_job_makes_a_job_when_it_is_due(plane: ControlPlane, namespace: str) -> None:
    """Once a minute is the most often that there is."""
    at = ("-n", namespace)
    plane.kubectl("create", "cronjob", "often", "--image=any", "--schedule=* * * * *", *at)
    plane.wait(lambda: read(plane, "jobs", *at)["items"], 90, "no job was made")
    plane.kubectl("wait", "--for=condition=Complete", "job", "--all", WAIT, *at, timeout=130)
    assert read(plane, "cronjob", "often", *at)["status"]["lastScheduleTime"]


def test_a_service_finds_its_pods(plane: ControlPlane, namespace: str) -> None:
    at = ("-n", namespace)
    plane.apply(pods("Deployment", "web", replicas=3), namespace=namespace)
    plane.kubectl("rollout", "status", "deployment/web", WAIT, *at, timeout=130)
    plane.kubectl("expose", "deployment", "web", "--port=80", *at)
    assert read(plane, "service", "web", *at)["spec"]["clusterIP"].startswith("10.96.")

    def found() -> int:
        return len(addresses(plane, namespace, "web"))

    plane.wait(lambda: found() == 3, 60, "the slices do not have three endpoints")
    plane.kubectl("scale", "deployment/web", "--replicas=0", *at)
    plane.wait(lambda: found() == 0, 60, "the slices keep endpoints of pods that are gone")


def test_a_headless_service_names_each_pod(plane: ControlPlane, namespace: str) -> None:
    service: dict[str, object] = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "db"},
        "spec": {"clusterIP": "None", "selector": {"app": "db"}, "ports": [{"port": 5432}]},
    }
    stateful = pods("StatefulSet", "db", replicas=3, serviceName="db")
    plane.apply(service, stateful, namespace=namespace)
    at = ("-n", namespace)
    plane.kubectl("rollout", "status", "statefulset/db", WAIT, *at, timeout=130)

    def named() -> bool:
        found = addresses(plane, namespace, "db")
        return sorted(each.get("hostname", "") for each in found) == ["db-0", "db-1", "db-2"]

    plane.wait(named, 60, "the slices do not name the pods")
    assert read(plane, "service", "db", *at)["spec"]["clusterIP"] == "None"


def test_a_service_has_a_port_of_every_node(plane: ControlPlane, namespace: str) -> None:
    at = ("-n", namespace)
    plane.kubectl("create", "service", "nodeport", "web", "--tcp=80", *at)
    port = read(plane, "service", "web", *at)["spec"]["ports"][0]["nodePort"]
    assert 30000 <= port <= 32767
    with pytest.raises(PlaneError, match="already allocated"):
        plane.kubectl(
            "create", "service", "nodeport", "two", "--tcp=80", f"--node-port={port}", *at
        )


def test_a_claim_is_bound_to_a_volume(plane: ControlPlane, namespace: str) -> None:
    size = {"storage": "1Gi"}
    wanted = {"accessModes": ["ReadWriteOnce"], "storageClassName": namespace}
    volume: dict[str, object] = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": namespace},
        "spec": wanted | {"capacity": size, "hostPath": {"path": "/nowhere"}},
    }
    claim: dict[str, object] = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": wanted | {"resources": {"requests": size}},
    }
    plane.apply(volume, claim, namespace=namespace)
    bound = ("wait", "--for=jsonpath={.status.phase}=Bound")
    plane.kubectl(*bound, "pvc/data", WAIT, "-n", namespace, timeout=130)
    plane.kubectl("delete", "pvc/data", WAIT, "-n", namespace, timeout=130)
    plane.kubectl("delete", f"pv/{namespace}", WAIT, timeout=130)


def test_a_drained_node_is_left_by_its_pods(plane: ControlPlane, namespace: str) -> None:
    at = ("-n", namespace)
    rolled = ("rollout", "status", "deployment/web", WAIT, *at)
    plane.apply(pods("Deployment", "web", replicas=20), namespace=namespace)
    plane.kubectl(*rolled, timeout=130)
    node = read(plane, "pods", *at)["items"][0]["spec"]["nodeName"]
    selected = ("--pod-selector=app=web", "--disable-eviction=false", WAIT)
    plane.kubectl("drain", node, *selected, timeout=130)
    try:
        plane.kubectl(*rolled, timeout=130)
        assert node not in {each["spec"]["nodeName"] for each in read(plane, "pods", *at)["items"]}
    finally:
        plane.kubectl("uncordon", node)


def test_a_pod_is_described_with_its_environment(plane: ControlPlane, namespace: str) -> None:
    """What a container reads of it needs a kubelet."""
    at = ("-n", namespace)
    plane.kubectl("run", "one", "--image=any", "--env=COLOUR=red", *at)
    plane.kubectl("wait", "--for=condition=Ready", "pod/one", WAIT, *at, timeout=130)
    assert "COLOUR:  red" in plane.kubectl("describe", "pod", "one", *at)


def test_a_command_runs_in_a_pod_and_its_log_is_read(plane: ControlPlane, namespace: str) -> None:
    at = ("-n", namespace)
    plane.kubectl("run", "one", "--image=any", *at)
    plane.kubectl("wait", "--for=condition=Ready", "pod/one", WAIT, *at, timeout=130)
    assert plane.kubectl("exec", "one", *at, "--", "echo", "hello") == "hello\n"
    assert plane.kubectl("logs", "one", *at).strip() == LOGGED


def test_a_port_of_a_pod_is_forwarded(plane: ControlPlane, namespace: str) -> None:
    """kwok answers what it is sent."""
    at = ("-n", namespace)
    plane.kubectl("run", "one", "--image=any", *at)
    plane.kubectl("wait", "--for=condition=Ready", "pod/one", WAIT, *at, timeout=130)
    forward = plane.kubectl_command("port-forward", "pod/one", ":80", *at)
    with subprocess.Popen(forward, stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            port = re.search(r"127\.0\.0\.1:(\d+) -> 80", running.stdout.readline())
            assert port
            with socket.create_connection(("127.0.0.1", int(port[1])), timeout=30) as connection:
                connection.sendall(b"hello\n")
                assert connection.makefile("rb").readline() == b"hello\n"
        finally:
            running.kill()


def test_events_end_with_their_lease(plane: ControlPlane, namespace: str) -> None:
    at = ("-n", namespace)
    plane.kubectl("run", "one", "--image=any", *at)
    plane.kubectl("wait", "--for=condition=Ready", "pod/one", WAIT, *at, timeout=130)
    plane.wait(lambda: read(plane, "events", *at)["items"], 30, "no event was recorded")
    plane.wait(lambda: not read(plane, "events", *at)["items"], 90, "events did not end")
