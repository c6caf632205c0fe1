"""The page Live: a running watch, leases that count down, locks and elections."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from rusd.proto import rpc_pb2 as rpc
from tests.console.browser import Console
from tests.console.walk import lock, see
from tests.support.client import Client
from tests.support.pair import command

#: Events that the page keeps (KEPT in pages/live/feed.js).
KEPT = 500

#: What a row says once the lease has been asked for.
COUNTS = re.compile(r"\d+ s")


def rows(page: Page) -> Locator:
    """The events of the watch, the newest first."""
    return page.locator(".live-events tbody tr.choice")


def keys(page: Page) -> list[str]:
    """The keys of the watch's events, the newest first."""
    return page.locator(".live-events tbody td:nth-child(4)").all_inner_texts()


def watch(console: Console, **params: str) -> Page:
    """Open the watch and wait until the member has accepted it."""
    page = console.open("live", tab="watch", **params)
    expect(page.get_by_text("connected", exact=True)).to_be_visible()
    return page


# --- the watch --------------------------------------------------------------------------------


def test_a_watch_started_by_keyboard_shows_each_kind_of_event_and_its_value(
    console: Console, client: Client
) -> None:
    page = console.open("live")
    page.get_by_role("textbox", name="Prefix").focus()
    page.keyboard.type("app/")
    page.keyboard.press("Enter")
    expect(page.get_by_text("connected", exact=True)).to_be_visible()

    client.put(b"app/one", b'{"first": true}')
    client.put(b"other", b"not below the prefix")
    client.put(b"app/one", b'{"second": true}', lease=client.grant(600).ID)
    removed = client.delete(b"app/one").header.revision
    expect(rows(page)).to_have_count(3)
    kinds = page.locator(".live-events tbody td:nth-child(3)").all_inner_texts()
    assert kinds == ["delete", "update", "create"]
    assert keys(page) == ["app/one"] * 3

    rows(page).nth(1).focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text('"second": true')
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(rows(page).nth(1)).to_be_focused()
    rows(page).nth(0).click()
    expect(dialog).to_contain_text("Value before the deletion")
    history = dialog.get_by_role("link", name="History of this key").get_attribute("href")
    assert history == f"#/history?key=app%2Fone&revision={removed}"
    expect(dialog).to_contain_text('"second": true')


def test_a_watch_begins_at_the_revision_that_was_named(console: Console, client: Client) -> None:
    client.put(b"past", b"1")
    second = client.put(b"past", b"2").header.revision
    client.put(b"past", b"3")
    page = watch(console, key="past", match="exact", **{"from": str(second)})
    expect(rows(page)).to_have_count(2)


def test_only_the_kinds_of_events_that_were_chosen_come(console: Console, client: Client) -> None:
    page = watch(console, key="app/", only="delete")
    client.put(b"app/a", b"1")
    client.delete(b"app/a")
    expect(rows(page)).to_have_count(1)
    expect(rows(page)).to_contain_text("delete")


def test_a_pause_keeps_what_comes_meanwhile(console: Console, client: Client) -> None:
    page = watch(console, key="app/")
    client.put(b"app/before", b"1")
    expect(rows(page)).to_have_count(1)
    page.get_by_role("button", name="Pause").click()
    for number in range(20):
        client.put(b"app/%d" % number, b"1")
    see(page, "20 events came meanwhile")
    expect(rows(page)).to_have_count(1)
    page.get_by_role("button", name="Resume").click()
    expect(rows(page)).to_have_count(21)
    assert keys(page) == [f"app/{number}" for number in reversed(range(20))] + ["app/before"]


def test_a_flood_leaves_the_last_events_and_says_so(console: Console, client: Client) -> None:
    page = watch(console, key="app/")
    page.get_by_role("button", name="Pause").click()
    for number in range(KEPT + 100):
        client.put(b"app/%d" % number, b"1")
    see(page, "600 events came meanwhile; only the last 500 of them are kept")
    page.get_by_role("button", name="Resume").click()
    expect(rows(page)).to_have_count(KEPT)
    assert keys(page)[0] == f"app/{KEPT + 99}"
    assert keys(page)[-1] == "app/100"
    see(page, "the last 500 are kept")


#: A feed whose events take 300 ms to be drawn; `window.drawn` counts the drawings.
SLOW_FEED = """async () => {
  const { Feed } = await import("./pages/live/feed.js");
  const [key, end] = ["a", "b"].map((text) => new TextEncoder().encode(text));
  window.drawn = 0;
  window.feed = new Feed({ key, end, from: "", only: "" }, () => {
    window.drawn++;
    for (const began = performance.now(); performance.now() < began + 300; );
  });
}"""


def test_a_flood_of_events_leaves_a_slow_page_time_for_its_user(
    console: Console, client: Client
) -> None:
    page = console.open("operations")
    page.evaluate(SLOW_FEED)
    page.wait_for_function("window.feed.status === 'open'")
    began, before = time.monotonic(), page.evaluate("window.drawn")
    while (elapsed := time.monotonic() - began) < 5:
        fill_keys(client, 100)
    drawn = page.evaluate("window.drawn") - before
    page.evaluate("window.feed.stop()")
    assert 0 < drawn <= elapsed / (4 * 0.3) + 2


def test_a_text_keeps_the_events_that_contain_it(console: Console, client: Client) -> None:
    page = watch(console, key="app/")
    client.put(b"app/pear", b"fruit")
    client.put(b"app/stone", b"no")
    expect(rows(page)).to_have_count(2)
    page.get_by_role("searchbox", name="Text in key or value").fill("FRUIT")
    expect(rows(page)).to_have_count(1)
    client.put(b"app/other", b"no")
    client.put(b"app/apple", b"a fruit, too")
    expect(rows(page)).to_have_count(2)
    assert keys(page) == ["app/apple", "app/pear"]
    see(page, "1 without the text")


def test_compacted_events_are_said_to_be_lost_and_the_watch_goes_on_if_wanted(
    console: Console, client: Client
) -> None:
    first = client.put(b"app/a", b"1").header.revision
    client.put(b"app/a", b"2")
    last = client.put(b"app/a", b"3").header.revision
    client.compact(last)
    page = console.open("live", tab="watch", key="app/", **{"from": str(first)})
    see(page, f"revisions {first:,} to {last - 1:,} are compacted")
    expect(rows(page)).to_have_count(0)
    page.get_by_role("button", name=f"Go on at revision {last:,}").click()
    expect(rows(page)).to_have_count(1)
    client.put(b"app/a", b"4")
    expect(rows(page)).to_have_count(2)


def test_markup_and_bytes_in_keys_and_values_stay_text(console: Console, client: Client) -> None:
    page = watch(console, key="app/")
    client.put(b"app/<img src=x onerror=alert(1)>", b"<script>alert(1)</script>")
    client.put(b"app/\x00\xff\xe2\x80\xae", b"\x00\x01")
    expect(rows(page)).to_have_count(2)
    assert keys(page) == [
        "app/\\x00\\xff\\xe2\\x80\\xae",
        "app/<img src=x onerror=alert(1)>",
    ]
    assert page.locator("main img, main script").count() == 0


def test_a_stopped_watch_keeps_its_rows_and_starts_again(console: Console, client: Client) -> None:
    page = watch(console, key="app/")
    client.put(b"app/a", b"1")
    expect(rows(page)).to_have_count(1)
    page.get_by_role("button", name="Stop").click()
    see(page, "Stopped")
    client.put(b"app/a", b"2")
    expect(rows(page)).to_have_count(1)
    page.get_by_role("button", name="Watch", exact=True).click()
    expect(page.get_by_text("connected", exact=True)).to_be_visible()
    client.put(b"app/b", b"1")
    expect(rows(page)).to_have_count(1)
    assert keys(page) == ["app/b"]


# --- leases -----------------------------------------------------------------------------------


def seconds(page: Page, lease: int) -> int:
    """What the page says a lease has left; below a minute."""
    text = page.get_by_role("row").filter(has_text=f"{lease:x}").inner_text()
    found = re.search(r"(\d+) s", text)
    assert found, text
    return int(found[1])


def wait_until(page: Page, look: Callable[[], bool], failure: str) -> None:
    for _ in range(200):
        if look():
            return
        page.wait_for_timeout(100)
    pytest.fail(failure)


def test_leases_count_down_and_show_their_keys_on_demand(console: Console, client: Client) -> None:
    lease, bare = client.grant(50).ID, client.grant(55).ID
    for number in range(5):
        client.put(b"leased/%d" % number, b"1", lease=lease)
    page = console.open("live", tab="leases")
    see(page, "2 leases")
    row = page.get_by_role("row").filter(has_text=f"{lease:x}")
    expect(row).to_contain_text(COUNTS)
    begin = seconds(page, lease)
    wait_until(page, lambda: seconds(page, lease) < begin, "the lease does not count down")

    page.get_by_label("Show keys").check()
    expect(row).to_contain_text("leased/2")
    expect(page.get_by_role("row").filter(has_text=f"{bare:x}")).to_contain_text("none")
    row.get_by_role("button", name="and 2 more").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("5 keys")
    expect(dialog.get_by_role("listitem")).to_have_count(5)
    page.keyboard.press("Escape")

    client.revoke(bare)
    see(page, "1 lease")
    expect(page.get_by_role("row").filter(has_text=f"{bare:x}")).to_have_count(0)


def test_a_lease_that_is_kept_alive_counts_from_its_whole_time_again(
    console: Console, client: Client
) -> None:
    lease = client.grant(50).ID
    page = console.open("live", tab="leases")
    expect(page.get_by_role("row").filter(has_text=f"{lease:x}")).to_contain_text(COUNTS)
    wait_until(page, lambda: seconds(page, lease) <= 44, "the lease does not count down")
    client.keep_alive(lease)
    readings = [seconds(page, lease)]

    def jumped() -> bool:
        readings.append(seconds(page, lease))
        return readings[-1] >= readings[-2] + 3

    wait_until(page, jumped, "the renewal is not seen")


@pytest.fixture
def questions(console: Console) -> Iterator[list[str]]:
    """Requests for single leases."""
    asked: list[str] = []
    console.page.on(
        "request", lambda one: asked.append(one.url) if one.url.endswith("timetolive") else None
    )
    yield asked


def test_many_leases_are_paged_and_only_those_of_the_page_are_asked_for(
    console: Console, client: Client, questions: list[str]
) -> None:
    granted = sorted(client.grant(600).ID for _ in range(60))
    page = console.open("live", tab="leases")
    see(page, "Page 1 of 3")
    table = page.get_by_role("table")
    expect(table.locator("tbody tr")).to_have_count(25)
    expect(table).to_contain_text(f"{granted[24]:x}")
    wait_until(page, lambda: len(questions) >= 25, "leases are not asked for")
    assert len(questions) <= 50
    page.get_by_role("button", name="Next").click()
    expect(table).to_contain_text(f"{granted[25]:x}")
    page.get_by_role("searchbox", name="Part of a lease's id").fill(f"{granted[59]:x}")
    expect(table.locator("tbody tr")).to_have_count(1)


# --- locks and elections ----------------------------------------------------------------------


def test_a_lock_shows_its_holder_and_the_waiters_in_their_order(
    console: Console, client: Client
) -> None:
    # (The order is that of the keys' creation, not that of their names.)
    leases = sorted((client.grant(600).ID for _ in range(3)), reverse=True)
    for lease in leases:
        client.put(b"locks/deploy/%x" % lease, b"", lease=lease)
    client.put(b"locks/deploy/zzz", b"no lock: another name", lease=leases[0])
    client.put(b"locks/deploy/%x" % 12345, b"no lock: no lease")
    page = console.open("live", tab="locks")
    queue = page.get_by_role("region", name="locks/deploy")
    expect(queue).to_contain_text("2 waiters")
    expect(queue.get_by_role("listitem")).to_have_count(3)
    lines = queue.get_by_role("listitem").all_inner_texts()
    assert [f"{lease:x}" in line for lease, line in zip(leases, lines, strict=True)] == [True] * 3
    assert ["holds" in line for line in lines] == [True, False, False]

    client.revoke(leases[0])
    expect(queue.get_by_role("listitem").first).to_contain_text(f"{leases[1]:x}")
    expect(queue.get_by_role("listitem").first).to_contain_text("holds")
    expect(queue).to_contain_text("1 waiter")


def test_an_election_shows_who_leads_by_the_value_it_proclaimed(
    console: Console, client: Client
) -> None:
    leader = lock(client, b"election/scheduler", value=b"host-1:8080")
    lock(client, b"election/scheduler", value=b"host-2:8080")
    lock(client, b"locks/deploy")
    page = console.open("live", tab="locks", prefix="election/")
    queue = page.get_by_role("region", name="election/scheduler")
    expect(queue.get_by_role("listitem").first).to_contain_text("host-1:8080")
    expect(queue.get_by_role("listitem").first).to_contain_text("leads")
    expect(page.get_by_role("region", name="locks/deploy")).to_have_count(0)
    queue.get_by_role("button").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(f"election/scheduler/{leader:x}")
    expect(dialog).to_contain_text("host-1:8080")


def fill_keys(client: Client, count: int) -> None:
    """Put `count` keys that belong to no lock, and stand before those of locks."""
    for first in range(0, count, 100):
        puts = [
            rpc.RequestOp(request_put=rpc.PutRequest(key=b"app/%05d" % number))
            for number in range(first, first + 100)
        ]
        client.txn(rpc.TxnRequest(success=puts))


def test_a_large_store_is_looked_at_in_steps(console: Console, client: Client) -> None:
    fill_keys(client, 6000)
    lock(client, b"locks/last")
    page = console.open("live", tab="locks")
    see(page, "No lock or election among the first 5,000 keys.")
    page.get_by_role("button", name="Look at 5,000 more").click()
    see(page, "1 found among 6,001 keys.")
    expect(page.get_by_role("region", name="locks/last")).to_contain_text("no waiters")


def test_a_lock_at_the_end_of_a_step_is_looked_at_whole(console: Console, client: Client) -> None:
    """Its holder has the oldest key, not the first in their order."""
    fill_keys(client, 4900)
    ids = [(1 << 62) + 1000 - number for number in range(120)]
    for lease in ids:
        client.grant(600, lease)
        client.put(b"locks/deploy/%x" % lease, lease=lease)
    client.put(b"zzz")
    page = console.open("live", tab="locks")
    queue = page.get_by_role("region", name="locks/deploy")
    expect(queue).to_contain_text("119 waiters")
    expect(queue.get_by_role("listitem").first).to_contain_text(f"{ids[0]:x}")
    expect(queue.get_by_role("listitem").nth(1)).to_contain_text(f"{ids[1]:x}")
    queue.get_by_role("button", name="Show 100 more of 119 waiters").click()
    queue.get_by_role("button", name="Show all 119 waiters").click()
    expect(queue.get_by_role("listitem")).to_have_count(120)


def test_etcdctl_waiting_for_a_lock_is_seen(console: Console, client: Client) -> None:
    """Real clients name their keys as the page expects them."""
    etcdctl = [command("etcdctl"), f"--endpoints={client.endpoint}", "lock", "by-etcdctl"]
    with (
        subprocess.Popen(etcdctl, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first,
        subprocess.Popen(etcdctl, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as second,
    ):
        try:
            page = console.open("live", tab="locks")
            queue = page.get_by_role("region", name="by-etcdctl")
            expect(queue).to_contain_text("1 waiter")
        finally:
            first.kill()
            second.kill()
