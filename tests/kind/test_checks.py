"""What a Kubernetes cluster does, with real pods, on three members with TLS."""

from __future__ import annotations

import base64
import json

from . import objects
from .cluster import Cluster, eventually, run


def test_the_node_is_ready_and_the_pods_of_the_system_run(cluster: Cluster) -> None:
    cluster.ready()
    print(f"members, node and readiness: {cluster.seconds:.1f} s")
    cluster.kubectl("rollout", "status", "deployment/coredns", "-n", "kube-system")
    cluster.kubectl("rollout", "status", "daemonset/kube-proxy", "-n", "kube-system")
    pods = cluster.read("pods", "-n", "kube-system")["items"]
    names = {pod["metadata"]["name"].partition("-rusd-")[0] for pod in pods}
    assert {"kube-apiserver", "kube-controller-manager", "kube-scheduler"} <= names
    assert not any("etcd" in name for name in names)


def test_the_api_server_stores_in_rusd_with_tls(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("create", "configmap", "seen", "-n", namespace)
    key = f"/registry/configmaps/{namespace}/seen"
    assert cluster.etcdctl("get", key, "--keys-only").strip() == key
    flags = run(
        "docker",
        "exec",
        "rusd-control-plane",
        "cat",
        "/etc/kubernetes/manifests/kube-apiserver.yaml",
    )
    assert "--etcd-servers=https://rusd-1:2379,https://rusd-2:2379,https://rusd-3:2379" in flags
    assert "--etcd-certfile=/etc/kubernetes/rusd/client.crt" in flags


def test_a_namespace_is_active_and_goes_with_what_is_in_it(cluster: Cluster) -> None:
    cluster.kubectl("create", "namespace", "passing")
    assert cluster.read("namespace", "passing")["status"]["phase"] == "Active"
    cluster.kubectl("create", "configmap", "inside", "-n", "passing")
    cluster.kubectl("delete", "namespace", "passing", "--timeout=60s")
    assert cluster.etcdctl("get", "/registry/configmaps/passing/", "--prefix", "--keys-only") == ""


def test_a_config_map_and_a_secret_are_changed_and_read(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("create", "configmap", "settings", "--from-literal=a=1", "-n", namespace)
    before = cluster.read("configmap", "settings", "-n", namespace)
    cluster.kubectl("patch", "configmap", "settings", "-n", namespace, "-p", '{"data":{"a":"2"}}')
    after = cluster.read("configmap", "settings", "-n", namespace)
    assert (before["data"], after["data"]) == ({"a": "1"}, {"a": "2"})
    versions = [int(each["metadata"]["resourceVersion"]) for each in (before, after)]
    assert versions[0] < versions[1]
    cluster.kubectl("create", "secret", "generic", "word", "--from-literal=w=open", "-n", namespace)
    secret = cluster.read("secret", "word", "-n", namespace)
    assert base64.b64decode(secret["data"]["w"]) == b"open"


def test_a_service_account_may_do_what_its_role_names(cluster: Cluster, namespace: str) -> None:
    inside = ("-n", namespace)
    cluster.kubectl("create", "serviceaccount", "reader", *inside)
    role = ("create", "role", "read", "--verb=get,list", "--resource=configmaps", *inside)
    cluster.kubectl(*role)
    user = f"{namespace}:reader"
    bind = ("create", "rolebinding", "read", "--role=read", f"--serviceaccount={user}", *inside)
    cluster.kubectl(*bind)
    token = cluster.kubectl("create", "token", "reader", *inside).strip()
    can = ("auth", "can-i", f"--as=system:serviceaccount:{user}", *inside)
    eventually(lambda: cluster.kubectl(*can, "list", "configmaps") == "yes\n", "may list")
    listed = cluster.kubectl("get", "configmaps", f"--token={token}", *inside, "-o", "name")
    assert "configmap/kube-root-ca.crt" in listed.split()
    refused = json.dumps(cluster.read("role", "read", *inside)["rules"])
    assert "delete" not in refused


def test_a_command_runs_in_a_pod_and_its_log_is_read(cluster: Cluster, namespace: str) -> None:
    cluster.apply(objects.deployment("1", 1), namespace=namespace)
    cluster.rolled_out("web", namespace)
    inside = ("-n", namespace, "deployment/web")
    said = cluster.kubectl("exec", *inside, "--", "workload", "say", "hello")
    assert said == "hello\n"
    eventually(
        lambda: cluster.kubectl("logs", *inside) == "serving version 1\n", "the log is written"
    )


def test_a_process_in_a_pod_has_the_variables_of_its_description(
    cluster: Cluster, namespace: str
) -> None:
    cluster.apply(objects.deployment("1", 1), namespace=namespace)
    cluster.rolled_out("web", namespace)
    shown = cluster.kubectl(
        "exec", "-n", namespace, "deployment/web", "--", "workload", "environment"
    )
    assert "GREETING=from the pod's description" in shown.splitlines()


def test_a_service_answers_by_address_and_by_name(cluster: Cluster, namespace: str) -> None:
    cluster.apply(objects.deployment("1", 2), objects.service(), namespace=namespace)
    cluster.rolled_out("web", namespace)
    address = cluster.read("service", "web", "-n", namespace)["spec"]["clusterIP"]
    hosts = [address, "web", f"web.{namespace}.svc.cluster.local"]

    def answers() -> bool:
        return {cluster.answer(f"http://{host}/", namespace) for host in hosts} == {"version 1"}

    eventually(answers, "the service")


def test_a_deployment_is_scaled_rolled_and_rolled_back(cluster: Cluster, namespace: str) -> None:
    cluster.apply(objects.deployment("1", 2), objects.service(), namespace=namespace)
    cluster.rolled_out("web", namespace)
    cluster.kubectl("scale", "deployment/web", "--replicas=5", "-n", namespace)
    cluster.rolled_out("web", namespace)
    assert cluster.read("deployment", "web", "-n", namespace)["status"]["readyReplicas"] == 5
    cluster.roll("web", namespace, "2")
    eventually(lambda: cluster.answer("http://web/", namespace) == "version 2", "version 2")
    cluster.kubectl("rollout", "undo", "deployment/web", "-n", namespace)
    cluster.rolled_out("web", namespace)
    eventually(lambda: cluster.answer("http://web/", namespace) == "version 1", "version 1")
    cluster.kubectl("scale", "deployment/web", "--replicas=1", "-n", namespace)
    eventually(
        lambda: cluster.read("deployment", "web", "-n", namespace)["status"]["replicas"] == 1,
        "one replica",
    )


def test_a_job_completes_and_its_log_is_read(cluster: Cluster, namespace: str) -> None:
    cluster.apply(objects.job("done once"), namespace=namespace)
    wait = ("wait", "--for=condition=complete", "job/once", "-n", namespace, "--timeout=120s")
    cluster.kubectl(*wait)
    assert cluster.kubectl("logs", "job/once", "-n", namespace) == "done once\n"
