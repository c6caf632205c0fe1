"""Pages of /console/api/ on three running members, one of which is killed and one paused."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from cluster.local import LocalCluster
from tests.support.client import Client
from tests.support.http import ask
from tests.support.waiting import wait

PAGES = ("cluster", "samples", "times")
#: Seconds in which a page must be answered, whatever the other members do.
BOUND = 6.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(3) as three:
        yield three


def got(endpoint: str, page: str, **headers: str) -> tuple[int, Any]:
    answer = ask(endpoint, f"/console/api/{page}", method="GET", headers=headers)
    assert answer.headers["content-type"] == "application/json", answer
    return answer.status, json.loads(answer.body)


def members(endpoint: str) -> dict[str, dict[str, Any]]:
    began = time.monotonic()
    status, found = got(endpoint, "cluster")
    assert status == 200 and time.monotonic() - began < BOUND
    return {member["name"]: member for member in found["members"]}


def reached(endpoint: str, revision: int) -> bool | None:
    return int(got(endpoint, "cluster")[1]["revision"]) >= revision or None


def reachable(endpoint: str) -> list[bool]:
    return [one["reachable"] for _, one in sorted(members(endpoint).items())]


def test_the_state_names_the_member_and_tells_the_time(cluster: LocalCluster) -> None:
    status, state = got(cluster.endpoints[0], "state")
    assert status == 200
    assert (state["read_only"], state["auth_enabled"]) == (False, False)
    assert int(state["member_id"]) and int(state["cluster_id"])
    assert abs(state["now"] / 1000 - time.time()) < 60


def test_every_member_shows_all_of_them_with_their_positions(cluster: LocalCluster) -> None:
    with Client(cluster.endpoints[0]) as client:
        revision = client.put(b"k", b"v").header.revision
    for endpoint in cluster.endpoints:
        _, found = got(endpoint, "cluster")
        assert len(found["members"]) == 3
        assert [one["leader"] for one in found["members"]].count(True) == 1
        for one in found["members"]:
            assert one["reachable"] and not one["error"], one
            assert int(one["applied"]) <= int(one["index"]) and int(one["db_size"]) > 0
            assert one["certificates"] == [] and int(one["quota"]) == int(found["quota"])
        wait(partial(reached, endpoint, revision), "the revision is not shown", 20)


def test_a_page_of_another_origin_is_shown_nothing(cluster: LocalCluster) -> None:
    for page in ("state", "level", "history", *PAGES):
        for headers in (
            {"Origin": "http://evil.example"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Host": "evil.example"},
            {"Host": "evil.example", "Origin": ""},
            {"Host": "evil.example", "Origin": "http://evil.example"},
        ):
            status, told = got(cluster.endpoints[0], page, **headers)
            assert (status, told["code"]) == (403, 7)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_the_pages_are_only_read(cluster: LocalCluster, method: str) -> None:
    for page in ("state", *PAGES):
        assert ask(cluster.endpoints[0], f"/console/api/{page}", b"", method).status == 405


@pytest.mark.parametrize("query", ["?at=x", "?at=-1", "?revision=1e3", "?at=%00", "?revision=٣"])
def test_a_query_that_is_no_number_is_refused(cluster: LocalCluster, query: str) -> None:
    assert got(cluster.endpoints[0], f"times{query.replace('٣', '%D9%A3')}")[0] == 400
    assert got(cluster.endpoints[0], f"samples?since={'9' * 5000}")[0] == 400


def test_the_samples_show_the_work_of_the_last_seconds(cluster: LocalCluster) -> None:
    def busy() -> dict[str, Any] | None:
        with Client(cluster.endpoints[0]) as client:
            client.put(b"k", b"v")
            client.range(b"k")
        for row in reversed(got(cluster.endpoints[0], "samples")[1]["rows"]):
            shown = dict(zip(names, row[1:], strict=True))
            if shown["puts_per_s"] and shown["read_p50_ms"] and shown["write_p99_ms"]:
                return shown
        return None

    _, first = got(cluster.endpoints[0], "samples")
    names = first["names"]
    shown = wait(busy, "no row shows it", 20)
    assert 0 < shown["write_p50_ms"] <= shown["write_p99_ms"]
    assert shown["ranges_per_s"] > 0 and shown["rss_bytes"] > 1 << 20
    assert 0 < shown["wal_fsync_p50_ms"] <= shown["wal_fsync_p99_ms"]
    assert shown["applied_index"] > 0 and shown["db_size_bytes"] >= shown["db_in_use_bytes"] > 0
    last = got(cluster.endpoints[0], "samples")[1]["rows"][-1][0]
    assert all(
        row[0] > last for row in got(cluster.endpoints[0], f"samples?since={last}")[1]["rows"]
    )


def test_the_times_of_revisions_are_known_also_after_a_restart(cluster: LocalCluster) -> None:
    here = cluster.endpoints[0]
    before = int(time.time() * 1000)
    with Client(here) as client:
        revision = client.put(b"timed", b"v").header.revision

    def made() -> dict[str, Any] | None:
        found: dict[str, Any] = got(here, f"times?revision={revision}")[1]
        return found if found["time"] else None

    found = wait(made, "the time is not known", 20)
    assert found["from"] <= before + 100 and found["time"] >= before
    bounds = got(here, "times")[1]
    assert (bounds["first_revision"], int(bounds["revision"])) == ("1", revision)
    assert cluster.stop(0) == 0
    cluster.restart(0)
    cluster.wait_healthy()
    assert got(here, f"times?revision={revision}")[1] == found
    assert int(got(here, f"times?at={found['time']}")[1]["revision"]) == revision
    assert got(here, "times?at=1")[1]["revision"] is None
    assert got(here, f"times?revision={revision + 1000}")[1]["time"] is None


def test_a_member_that_is_killed_or_paused_is_soon_out_of_reach_and_nothing_waits_for_it(
    cluster: LocalCluster,
) -> None:
    here = cluster.endpoints[0]
    assert all(one["reachable"] for one in members(here).values())
    cluster.kill(1)
    cluster.pause(2)
    try:
        alone = [True, False, False]
        wait(lambda: reachable(here) == alone or None, "they are in reach", 20)
        began = time.monotonic()
        for _ in range(20):
            members(here)
        assert time.monotonic() - began < BOUND, "what is known is shown at once"
        gone = members(here)
        assert all(one["error"] for one in gone.values() if not one["reachable"])
        assert got(here, "state")[0] == 200
    finally:
        cluster.resume(2)
        cluster.restart(1)
    cluster.wait_healthy()
    wait(lambda: all(reachable(here)) or None, "they are out of reach", 20)


def test_with_authentication_on_the_pages_need_a_user_of_any_kind(cluster: LocalCluster) -> None:
    here = cluster.endpoints[0]
    for path, body in (
        ("user/add", {"name": "root", "password": "root"}),
        ("user/add", {"name": "guest", "password": "guest"}),
        ("role/add", {"name": "root"}),
        ("user/grant", {"user": "root", "role": "root"}),
        ("enable", {}),
    ):
        assert ask(here, f"/v3/auth/{path}", json.dumps(body)).status == 200
    login = ask(here, "/v3/auth/authenticate", '{"name":"guest","password":"guest"}')
    guest = json.loads(login.body)["token"]
    for page in PAGES:
        assert got(here, page) == (400, {"code": 3, "message": "etcdserver: user name is empty"})
        assert got(here, page, Authorization="x.1")[0] == 401
        assert got(here, page, Authorization=guest)[0] == 200
        assert got(here, page, Authorization=f"Bearer {guest}")[0] == 200
    status, state = got(here, "state")
    assert (status, state["auth_enabled"]) == (200, True)


def test_a_client_that_never_reads_holds_nobody_up(cluster: LocalCluster) -> None:
    here = cluster.endpoints[0]
    host, _, port = here.rpartition(":")
    with socket.create_connection((host, int(port)), 20) as silent:
        silent.sendall(b"GET /console/api/state HTTP/1.1\r\nHost: a\r\n\r\n" * 90)
        began = time.monotonic()
        assert got(here, "state")[0] == 200
        assert time.monotonic() - began < BOUND
