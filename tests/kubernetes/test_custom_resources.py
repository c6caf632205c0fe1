"""Resources that a user defines, with schema, status, versions and finalizers."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from cluster.kubernetes.plane import ControlPlane, PlaneError
from tests.kubernetes.test_checks import WAIT, read

GROUP, PLURAL = "example.com", "widgets"


def version(name: str, *, stored: bool) -> dict[str, object]:
    """One version of the definition: a size of at least 1, 7 by default; a status."""
    size = {"type": "integer", "minimum": 1, "default": 7}
    spec = {"type": "object", "properties": {"size": size, "colour": {"type": "string"}}}
    status = {"type": "object", "properties": {"phase": {"type": "string"}}}
    schema = {"type": "object", "properties": {"spec": spec, "status": status}}
    return {
        "name": name,
        "served": True,
        "storage": stored,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
        "additionalPrinterColumns": [
            {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
        ],
    }


@pytest.fixture(scope="module", autouse=True)
def definition(plane: ControlPlane) -> Iterator[None]:
    crd = f"crd/{PLURAL}.{GROUP}"
    plane.apply(
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{PLURAL}.{GROUP}"},
            "spec": {
                "group": GROUP,
                "names": {"plural": PLURAL, "singular": "widget", "kind": "Widget"},
                "scope": "Namespaced",
                "versions": [version("v1", stored=True), version("v1beta1", stored=False)],
            },
        }
    )
    plane.kubectl("wait", "--for=condition=Established", crd, WAIT, timeout=130)
    yield
    plane.kubectl("delete", crd, WAIT, timeout=130)


def widget(name: str, spec: dict[str, object], **meta: object) -> dict[str, object]:
    named = {"name": name} | meta
    return {"apiVersion": f"{GROUP}/v1", "kind": "Widget", "metadata": named, "spec": spec}


def test_a_custom_resource_is_stored_with_its_defaults(plane: ControlPlane, namespace: str) -> None:
    plane.apply(widget("good", {"colour": "red"}), namespace=namespace)
    shown = read(plane, "widget", "good", "-n", namespace)
    assert shown["spec"] == {"colour": "red", "size": 7}
    assert plane.kubectl("get", "widgets", "-n", namespace).split()[:4] == [
        "NAME",
        "SIZE",
        "good",
        "7",
    ]


def test_a_custom_resource_is_validated(plane: ControlPlane, namespace: str) -> None:
    with pytest.raises(PlaneError, match="greater than or equal to 1"):
        plane.apply(widget("small", {"size": 0}), namespace=namespace)
    # The API server's own word: kubectl would refuse it before.
    wordy = json.dumps(widget("wordy", {"size": "large"}))
    with pytest.raises(PlaneError, match="must be of type integer"):
        create = ("create", "--validate=false", "-f", "-", "-n", namespace)
        plane.kubectl(*create, stdin=wordy)
    assert not read(plane, "widgets", "-n", namespace)["items"]


def test_the_status_of_a_custom_resource_is_written_apart(
    plane: ControlPlane, namespace: str
) -> None:
    at = ("-n", namespace)
    plane.apply(widget("good", {"size": 3}), namespace=namespace)
    patch = ("patch", "widget", "good", "--type=merge", *at)
    both = json.dumps({"spec": {"size": 4}, "status": {"phase": "ready"}})
    plane.kubectl(*patch, "-p", both)
    shown = read(plane, "widget", "good", *at)
    assert "status" not in shown and shown["metadata"]["generation"] == 2
    plane.kubectl(*patch, "-p", both.replace("4", "5"), "--subresource=status")
    shown = read(plane, "widget", "good", *at)
    assert shown["status"] == {"phase": "ready"} and shown["spec"]["size"] == 4
    assert shown["metadata"]["generation"] == 2


def test_a_custom_resource_is_read_in_each_version(plane: ControlPlane, namespace: str) -> None:
    plane.apply(widget("good", {"size": 3}), namespace=namespace)
    for name in ("v1", "v1beta1"):
        shown = read(plane, f"{PLURAL}.{name}.{GROUP}", "good", "-n", namespace)
        assert shown["apiVersion"] == f"{GROUP}/{name}" and shown["spec"]["size"] == 3


def test_a_finalizer_keeps_a_custom_resource(plane: ControlPlane, namespace: str) -> None:
    at = ("-n", namespace)
    plane.apply(widget("good", {"size": 3}, finalizers=["example.com/clean"]), namespace=namespace)
    plane.kubectl("delete", "widget", "good", "--wait=false", *at)
    assert read(plane, "widget", "good", *at)["metadata"]["deletionTimestamp"]
    clean = '{"metadata":{"finalizers":null}}'
    plane.kubectl("patch", "widget", "good", "--type=merge", "-p", clean, *at)
    plane.kubectl("wait", "--for=delete", "widget/good", WAIT, *at, timeout=130)
