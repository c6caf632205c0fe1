"""Members are killed while pages are open."""

from __future__ import annotations

from playwright.sync_api import expect

from cluster.local import LocalCluster
from tests.console.browser import Console
from tests.console.conftest import Open
from tests.console.walk import STOPS, fill, see, visit
from tests.support.client import Client

#: What Chromium writes for a request that a killed or electing member did not answer.
UNANSWERED = ("ERR_", "status of 503", "status of 504")


def open_all(open_console: Open, member: int, since: int) -> list[Console]:
    """Every page in a tab of its own."""
    consoles = []
    for stop in STOPS:
        console = open_console(member)
        console.tolerate(*UNANSWERED)
        visit(console, stop, since)
        consoles.append(console)
    return consoles


def test_a_killed_leader_is_shown_cut_off_and_back_and_no_page_fails(
    open_console: Open, cluster: LocalCluster, client: Client
) -> None:
    since = fill(client)
    leader = cluster.leader()
    member = (leader + 1) % 3
    consoles = open_all(open_console, member, since)
    watching = next(c for c, s in zip(consoles, STOPS, strict=True) if s.name == "live-watch")
    picture = consoles[0]

    cluster.kill(leader)
    see(picture.page, "no answer")
    picture.picture("cluster-member-killed")
    cluster.wait_leader()
    with Client(cluster.endpoints[member]) as other:
        other.put(b"app/while-one-is-away", b"1")
    see(watching.page, "app/while-one-is-away")

    cluster.restart(leader)
    cluster.wait_healthy()
    expect(picture.page.locator("main").get_by_text("no answer")).to_have_count(0)
    for console in consoles:
        expect(console.page.get_by_role("alert")).to_have_count(0)


def test_a_page_says_that_its_own_member_is_gone_and_recovers_without_a_reload(
    open_console: Open, cluster: LocalCluster, client: Client
) -> None:
    since = fill(client)
    member = (cluster.leader() + 1) % 3
    consoles = open_all(open_console, member, since)
    for console in consoles:
        console.page.evaluate("window.loadedOnce = true")

    cluster.kill(member)
    for console in consoles:
        expect(console.page.get_by_role("alert").first).to_contain_text("does not answer")
    see(consoles[0].page, "The picture is the last that this member sent.")
    expect(consoles[0].page.get_by_text("members answer")).to_have_count(0)
    consoles[0].picture("cluster-own-member-killed")
    watching = next(c for c, s in zip(consoles, STOPS, strict=True) if s.name == "live-watch")
    see(watching.page, "the watch goes on at revision")
    watching.picture("live-watch-own-member-killed")
    cluster.wait_leader()
    with Client(cluster.endpoints[cluster.leader()]) as other:
        other.put(b"app/unseen-by-the-dead", b"1")

    cluster.restart(member)
    cluster.wait_healthy()
    for console in consoles:
        expect(console.page.get_by_role("alert")).to_have_count(0)
        assert console.page.evaluate("window.loadedOnce")
    # What was written meanwhile is not lost to the watch, and no event is shown twice.
    see(watching.page, "app/unseen-by-the-dead")
    rows = watching.page.locator(".live-events tbody tr td:nth-child(2)").all_inner_texts()
    assert rows == sorted(set(rows), key=lambda text: -int(text.replace(",", "")))


def test_every_page_says_that_its_member_stopped_answering(
    open_console: Open, cluster: LocalCluster, client: Client
) -> None:
    """A member that hangs keeps its connections: no request fails, none is answered."""
    member = (cluster.leader() + 1) % 3
    consoles = open_all(open_console, member, fill(client))
    for console in consoles:
        expect(console.page.get_by_role("alert")).to_have_count(0)
    cluster.pause(member)
    try:
        for console in consoles:
            expect(console.page.get_by_role("alert").first).to_contain_text("does not answer")
    finally:
        cluster.resume(member)
    for console in consoles:
        expect(console.page.get_by_role("alert")).to_have_count(0)


def test_a_leader_that_hangs_is_shown_cut_off_and_no_page_of_the_others_fails(
    open_console: Open, cluster: LocalCluster, client: Client
) -> None:
    since = fill(client)
    leader = cluster.leader()
    member = (leader + 1) % 3
    consoles = open_all(open_console, member, since)
    watching = next(c for c, s in zip(consoles, STOPS, strict=True) if s.name == "live-watch")
    cluster.pause(leader)
    try:
        see(consoles[0].page, "no answer")
        cluster.wait_leader()
        with Client(cluster.endpoints[member]) as other:
            other.put(b"app/while-one-hangs", b"1")
        see(watching.page, "app/while-one-hangs")
        for console in consoles:
            expect(console.page.get_by_role("alert")).to_have_count(0)
    finally:
        cluster.resume(leader)
    cluster.wait_healthy()
    expect(consoles[0].page.locator("main").get_by_text("no answer")).to_have_count(0)
