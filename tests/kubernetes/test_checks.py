"""What users of a cluster do, by kubectl."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cluster.kubernetes.plane import LOGGED, ControlPlane, PlaneError

WAIT = "--timeout=120s"


def read(plane: ControlPlane, *arguments: str) -> Any:
    """What `kubectl get` answers."""
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
    def with_data(size: int) -> str:
        made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"of-{size}"}}
        return json.dumps(made | {"data": {"text": "x" * size}})

    at = ("create", "-n", namespace, "-f", "-")
    plane.kubectl(*at, stdin=with_data(900_000))
    found = read(plane, "configmap", "of-900000", "-n", namespace)
    assert len(found["data"]["text"]) == 900_000
    with pytest.raises(PlaneError):
        plane.kubectl(*at, stdin=with_data(1_600_000))


def test_a_custom_resource_is_validated_and_has_a_status(
    plane: ControlPlane, namespace: str
) -> None:
    group, plural = "example.com", "widgets"
    size = {"type": "object", "properties": {"size": {"type": "integer", "minimum": 1}}}
    schema = {"type": "object", "properties": {"spec": size, "status": {"type": "object"}}}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
    }
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "names": {"plural": plural, "singular": "widget", "kind": "Widget"},
            "scope": "Namespaced",
            "versions": [version],
        },
    }

    def widget(name: str, size: int) -> dict[str, Any]:
        meta = {"name": name, "finalizers": ["example.com/cleaned"]}
        made = {"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": meta}
        return made | {"spec": {"size": size}}

    plane.apply(definition)
    crd = f"crd/{plural}.{group}"
    plane.kubectl("wait", "--for=condition=Established", crd, WAIT)
    try:
        plane.apply(widget("good", 3), namespace=namespace)
        with pytest.raises(PlaneError, match="greater than or equal to 1"):
            plane.apply(widget("bad", 0), namespace=namespace)
        at = ("-n", namespace)
        plane.kubectl("delete", "widget", "good", "--wait=false", *at)
        assert read(plane, "widget", "good", *at)["metadata"]["deletionTimestamp"]
        clean = '{"metadata":{"finalizers":null}}'
        plane.kubectl("patch", "widget", "good", "--type=merge", "-p", clean, *at)
        plane.kubectl("wait", "--for=delete", "widget/good", WAIT, *at)
    finally:
        plane.kubectl("delete", crd)


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


def test_a_job_completes_and_a_cron_job_makes_jobs(plane: ControlPlane, namespace: str) -> None:
    at = ("-n", namespace)
    plane.kubectl("create", "job", "once", "--image=any", *at)
    plane.kubectl("wait", "--for=condition=Complete", "job/once", WAIT, *at, timeout=130)
    plane.kubectl("create", "cronjob", "often", "--image=any", "--schedule=* * * * *", *at)
    plane.kubectl("create", "job", "now", "--from=cronjob/often", *at)
    plane.kubectl("wait", "--for=condition=Complete", "job/now", WAIT, *at, timeout=130)


def test_a_service_finds_its_pods(plane: ControlPlane, namespace: str) -> None:
    at = ("-n", namespace)
    plane.apply(pods("Deployment", "web", replicas=3), namespace=namespace)
    plane.kubectl("rollout", "status", "deployment/web", WAIT, *at, timeout=130)
    plane.kubectl("expose", "deployment", "web", "--port=80", *at)
    assert read(plane, "service", "web", *at)["spec"]["clusterIP"].startswith("10.96.")

    def found() -> bool:
        slices = read(plane, "endpointslices", "-l", "kubernetes.io/service-name=web", *at)
        ready = [e for each in slices["items"] for e in each["endpoints"] or []]
        return len(ready) == 3

    plane.wait(found, 60, "the slices do not have three endpoints")


def test_a_command_runs_in_a_pod_and_its_log_is_read(plane: ControlPlane, namespace: str) -> None:
    at = ("-n", namespace)
    plane.kubectl("run", "one", "--image=any", *at)
    plane.kubectl("wait", "--for=condition=Ready", "pod/one", WAIT, *at, timeout=130)
    assert plane.kubectl("exec", "one", *at, "--", "echo", "hello") == "hello\n"
    assert plane.kubectl("logs", "one", *at).strip() == LOGGED


def test_events_end_with_their_lease(plane: ControlPlane, namespace: str) -> None:
    at = ("-n", namespace)
    plane.kubectl("run", "one", "--image=any", *at)
    plane.kubectl("wait", "--for=condition=Ready", "pod/one", WAIT, *at, timeout=130)
    plane.wait(lambda: read(plane, "events", *at)["items"], 30, "no event was recorded")
    plane.wait(lambda: not read(plane, "events", *at)["items"], 90, "events did not end")


def test_a_namespace_goes_with_what_is_in_it(plane: ControlPlane) -> None:
    plane.kubectl("create", "namespace", "short-lived")
    plane.kubectl("create", "deployment", "web", "--image=any", "-n", "short-lived")
    plane.kubectl("create", "configmap", "settings", "-n", "short-lived")
    plane.kubectl("delete", "namespace", "short-lived", WAIT, timeout=130)
    for kind in ("namespace/short-lived", "configmap/settings", "deployment/web"):
        asked = plane.kubectl_process("get", kind, "-n", "short-lived")
        assert "NotFound" in asked.stderr
