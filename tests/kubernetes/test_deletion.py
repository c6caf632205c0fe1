"""What is deleted with what: namespaces, owners, collections."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from cluster.kubernetes.plane import ControlPlane
from tests.kubernetes.test_checks import WAIT, pods, read
from tests.support.kubernetes_api import Api, config_map, config_maps

#: Objects that one call deletes.
COLLECTION = 5_000


def absent(plane: ControlPlane, kind: str, namespace: str) -> bool:
    return "NotFound" in plane.kubectl_process("get", kind, "-n", namespace).stderr


def test_a_namespace_goes_with_what_is_in_it(plane: ControlPlane) -> None:
    plane.kubectl("create", "namespace", "short-lived")
    plane.kubectl("create", "deployment", "web", "--image=any", "-n", "short-lived")
    plane.kubectl("create", "configmap", "settings", "-n", "short-lived")
    plane.kubectl("delete", "namespace", "short-lived", WAIT, timeout=130)
    for kind in ("namespace/short-lived", "configmap/settings", "deployment/web"):
        assert absent(plane, kind, "short-lived")


def test_a_namespace_stays_until_the_finalizers_in_it_are_gone(plane: ControlPlane) -> None:
    name = "held"
    plane.kubectl("create", "namespace", name)
    meta = {"name": "kept", "finalizers": ["example.com/clean"]}
    plane.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}, namespace=name)
    plane.kubectl("create", "configmap", "other", "-n", name)
    plane.kubectl("delete", "namespace", name, "--wait=false")
    held = "--for=condition=NamespaceFinalizersRemaining"
    plane.kubectl("wait", held, f"namespace/{name}", WAIT, timeout=130)
    assert read(plane, "namespace", name)["status"]["phase"] == "Terminating"
    assert absent(plane, "configmap/other", name)
    refused = plane.kubectl_process("create", "configmap", "late", "-n", name)
    assert "being terminated" in refused.stderr
    clean = '{"metadata":{"finalizers":null}}'
    plane.kubectl("patch", "configmap", "kept", "--type=merge", "-p", clean, "-n", name)
    plane.kubectl("wait", "--for=delete", f"namespace/{name}", WAIT, timeout=130)


def test_what_is_owned_goes_with_its_owner_or_stays(plane: ControlPlane, namespace: str) -> None:
    at = ("-n", namespace)
    for name in ("web", "kept"):
        plane.apply(pods("Deployment", name, replicas=2), namespace=namespace)
        plane.kubectl("rollout", "status", f"deployment/{name}", WAIT, *at, timeout=130)
    plane.kubectl("delete", "deployment", "web", "--cascade=foreground", WAIT, *at, timeout=130)
    assert not read(plane, "pods", "-l", "app=web", *at)["items"]
    plane.kubectl("delete", "deployment", "kept", "--cascade=orphan", WAIT, *at, timeout=130)
    assert len(read(plane, "pods", "-l", "app=kept", *at)["items"]) == 2


def test_a_collection_of_thousands_is_deleted_at_once(plane: ControlPlane, namespace: str) -> None:
    api, path = Api(plane), config_maps(namespace)

    def create(number: int) -> None:
        labels = {"kept": "yes"} if number % 100 == 0 else {}
        api.call("POST", path, config_map(f"object-{number:05}", **labels))

    kept = COLLECTION // 100
    with ThreadPoolExecutor(10) as together:
        list(together.map(create, range(COLLECTION + kept)))
    deleted = api.call("DELETE", path, labelSelector="kept!=yes")["items"]
    assert len(deleted) >= COLLECTION - 1
    left = api.call("GET", path, labelSelector="kept=yes")["items"]
    names = [each["metadata"]["name"] for each in left]
    assert names == [f"object-{number:05}" for number in range(0, COLLECTION + kept, 100)]
    others = [each["metadata"]["name"] for each in api.call("GET", path)["items"]]
    assert set(others) - set(names) <= {"kube-root-ca.crt"}
