"""Lists, watches and compaction by the API server's own interface, with many objects."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from cluster.kubernetes.plane import ControlPlane
from cluster.local import LocalCluster
from cluster.tls import Tls
from tests.kubernetes.metrics import counter, wait_metrics
from tests.kubernetes.store import etcdctl
from tests.support.kubernetes_api import Api, Failed, config_map, config_maps

COUNT = 10_000
MANY = config_maps("many")


@pytest.fixture(scope="module")
def api(plane: ControlPlane) -> Api:
    return Api(plane)


@pytest.fixture(scope="module")
def many(plane: ControlPlane, api: Api) -> Iterator[str]:
    """The path of 10,000 config maps, every tenth with the label `tenth=yes`."""
    plane.kubectl("create", "namespace", "many")

    def create(number: int) -> None:
        labels = {} if number % 10 else {"tenth": "yes"}
        api.call("POST", MANY, config_map(f"object-{number:05}", **labels))

    with ThreadPoolExecutor(10) as together:
        list(together.map(create, range(COUNT)))
    yield MANY
    plane.kubectl("delete", "namespace", "many", "--wait=false")


def names(listed: dict[str, list[dict[str, dict[str, str]]]]) -> list[str]:
    return [each["metadata"]["name"] for each in listed["items"]]


def of_this_test(listed: dict[str, list[dict[str, dict[str, str]]]]) -> list[str]:
    """Without what Kubernetes puts into each namespace."""
    return [name for name in names(listed) if name.startswith("object-")]


# --- lists ----------------------------------------------------------------------------------------


def test_pages_of_ten_thousand_objects_are_complete_and_of_one_version(api: Api, many: str) -> None:
    found: list[str] = []
    token, version = None, None
    for page in itertools.count():
        listed = api.call("GET", many, limit=500, **{"continue": token})
        found += of_this_test(listed)
        meta = listed["metadata"]
        version = version or meta["resourceVersion"]
        assert meta["resourceVersion"] == version
        token = meta.get("continue")
        if not token:
            break
        if page == 0:
            assert meta["remainingItemCount"] >= COUNT - 500
            api.call("POST", many, config_map("object-00000-later"))
    api.call("DELETE", f"{many}/object-00000-later")
    assert found == [f"object-{number:05}" for number in range(COUNT)]


def test_a_list_that_was_compacted_meanwhile_goes_on_with_a_fresh_token(
    plane: ControlPlane, members: LocalCluster, tls: Tls, api: Api, many: str
) -> None:
    """Without its own memory of the past, the API server must ask the store for it."""
    token = api.call("GET", many, limit=500)["metadata"]["continue"]
    changed = api.call("POST", many, config_map("other"))["metadata"]["resourceVersion"]
    api.call("DELETE", f"{many}/other")
    etcdctl(members, tls, "compact", changed)
    plane.kill("kube-apiserver")
    plane.run("kube-apiserver")
    plane.wait_ready()
    api.reconnect()
    with pytest.raises(Failed) as gone:
        api.call("GET", many, limit=500, **{"continue": token})
    assert gone.value.code == 410 and gone.value.body["reason"] == "Expired"
    fresh = gone.value.body["metadata"]["continue"]
    rest = of_this_test(api.call("GET", many, limit=COUNT, **{"continue": fresh}))
    assert rest == [f"object-{number:05}" for number in range(COUNT - len(rest), COUNT)]
    assert len(rest) >= COUNT - 500


def test_lists_by_label_and_by_field(api: Api, many: str) -> None:
    labelled = names(api.call("GET", many, labelSelector="tenth=yes"))
    assert labelled == [f"object-{number:05}" for number in range(0, COUNT, 10)]
    named = api.call("GET", many, fieldSelector="metadata.name=object-00042")
    assert names(named) == ["object-00042"]


def test_a_consistent_list_is_served_from_the_cache(api: Api, many: str) -> None:
    def counted() -> tuple[float, float]:
        page, name = api.text("/metrics"), "apiserver_watch_cache_consistent_read_total"
        return counter(page, name, 'fallback="true"'), counter(page, name, 'success="true"')

    fallbacks, served = counted()
    for number in range(20):
        api.call("POST", many, config_map(f"written-{number}"))
        listed = names(api.call("GET", many, labelSelector="tenth!=yes", limit=0))
        assert f"written-{number}" in listed
        api.call("DELETE", f"{many}/written-{number}")
    now = counted()
    assert now[0] == fallbacks and now[1] >= served + 20


# --- watches --------------------------------------------------------------------------------------


def test_a_watch_is_resumed_where_it_ended(api: Api, many: str) -> None:
    version = api.call("GET", many, limit=1)["metadata"]["resourceVersion"]
    api.call("POST", many, config_map("watched"))
    patch = {"data": {"text": "changed"}}
    for _ in range(5):
        found = api.call("GET", f"{many}/watched")
        patch["data"]["text"] += "."
        api.call("PUT", f"{many}/watched", found | patch)
    api.call("DELETE", f"{many}/watched")
    seen: list[tuple[str, str]] = []
    while len(seen) < 7:
        for event in itertools.islice(api.watch(many, resourceVersion=version), 2):
            version = event["object"]["metadata"]["resourceVersion"]
            if event["object"]["metadata"]["name"] == "watched":
                seen.append((event["type"], event["object"]["data"]["text"]))
            if len(seen) == 7:
                break
    text = "changed"
    assert seen[0][0] == "ADDED"
    assert seen[1:6] == [("MODIFIED", text + "." * number) for number in range(1, 6)]
    assert seen[6] == ("DELETED", text + ".....")


def test_a_watch_with_the_list_marks_its_end(api: Api, many: str) -> None:
    """kubectl and controllers use it in place of a list (WatchList)."""
    options = {
        "sendInitialEvents": "true",
        "resourceVersionMatch": "NotOlderThan",
        "allowWatchBookmarks": "true",
    }
    added = 0
    for event in api.watch(many, **options):
        if event["type"] == "BOOKMARK":
            marks = event["object"]["metadata"]["annotations"]
            assert marks == {"k8s.io/initial-events-end": "true"}
            break
        assert event["type"] == "ADDED"
        added += event["object"]["metadata"]["name"].startswith("object-")
    assert added == COUNT


# --- the store ------------------------------------------------------------------------------------


def test_the_api_server_counts_what_is_stored(api: Api, many: str) -> None:
    """It polls once a minute."""

    def counted(page: str) -> bool:
        for name in ("apiserver_resource_objects", "apiserver_storage_objects"):
            if counter(page, name, 'resource="configmaps') >= COUNT:
                return counter(page, "apiserver_storage_size_bytes", "") > COUNT * 200
        return False

    wait_metrics(api, counted, 150, lambda: "the objects are not counted")


def test_the_api_server_compacts_the_store(
    plane: ControlPlane, members: LocalCluster, tls: Tls
) -> None:
    """Once an interval, what is older than one."""

    def compacted() -> bool:
        shown = etcdctl(members, tls, "get", "compact_rev_key", "--print-value-only").strip()
        return shown.isdecimal() and int(shown) > 0

    plane.wait(compacted, 200, "the revision to compact was not written")
    revision = etcdctl(members, tls, "get", "compact_rev_key", "--print-value-only").strip()

    def refused() -> bool:
        try:
            etcdctl(members, tls, "get", "x", f"--rev={int(revision) - 1}")
        except subprocess.CalledProcessError as error:
            return "compacted" in error.stderr
        return False

    plane.wait(refused, 60, "the store is not compacted")
