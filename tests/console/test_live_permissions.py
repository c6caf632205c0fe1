"""The page Live for a user who may read some keys only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from cluster.local import LocalCluster
from tests.console.browser import Console
from tests.console.walk import see
from tests.support.client import Client
from tests.support.http import ask


def call(endpoint: str, path: str, token: str = "", **fields: Any) -> Any:
    answer = ask(endpoint, f"/v3/{path}", json.dumps(fields), headers={"Authorization": token})
    assert answer.status == 200, answer
    return json.loads(answer.body)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A member with users: alice may read the keys below app/."""
    with LocalCluster(1, user=("root", "root")) as cluster:
        at = cluster.endpoints[0]
        with Client(at) as client:
            for name in (b"app/locks/mine", b"other/locks/theirs"):
                lease = client.grant(600).ID
                client.put(b"%s/%x" % (name, lease), b"", lease=lease)
        call(at, "auth/user/add", name="root", password="root")
        call(at, "auth/user/grant", user="root", role="root")
        call(at, "auth/role/add", name="reader")
        reading = {"permType": "READ", "key": "YXBwLw==", "range_end": "YXBwMA=="}
        call(at, "auth/role/grant", name="reader", perm=reading)
        call(at, "auth/user/add", name="alice", password="alice")
        call(at, "auth/user/grant", user="alice", role="reader")
        call(at, "auth/enable")
        yield at


@pytest.fixture
def alice(browser: Browser, endpoint: str) -> Iterator[Console]:
    console = Console(browser, f"http://{endpoint}")
    console.tolerate("status of 403")  # what alice may not do
    page = console.open("live")
    page.get_by_label("User").fill("alice")
    page.get_by_label("Password").fill("alice")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1, name="Live")).to_be_visible()
    yield console
    console.close()
    assert console.problems == []


def test_a_refused_watch_says_so_and_an_allowed_one_runs(alice: Console) -> None:
    page = alice.open("live", tab="watch", key="")
    see(page, "permission denied")
    expect(page.get_by_text("refused", exact=True)).to_be_visible()
    alice.open("live", tab="watch", key="app/")
    expect(page.get_by_text("connected", exact=True)).to_be_visible()


def test_locks_that_the_user_may_read_are_shown(alice: Console) -> None:
    page = alice.open("live", tab="locks")
    see(page, "permission denied")
    alice.open("live", tab="locks", prefix="app/")
    expect(page.get_by_role("region", name="app/locks/mine")).to_contain_text("holds")


def test_a_list_of_leases_that_etcd_refuses_is_said_to_be_refused(alice: Console) -> None:
    # etcd lists leases only to users who may read the keys of all of them.
    page = alice.open("live", tab="leases")
    see(page, "permission denied")
