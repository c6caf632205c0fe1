"""Two consoles, of different members, that change the same thing at the same time."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from cluster.local import LocalCluster
from tests.console.conftest import Open
from tests.support.changes import UNHEALTHY, once_allowed
from tests.support.client import Client


def press_at_once(pages: list[Page], button: str) -> None:
    """Press the button of the open dialog in each page, without waiting for any answer."""
    buttons = [page.get_by_role("dialog").get_by_role("button", name=button) for page in pages]
    for one in buttons:
        expect(one).to_be_enabled()
    for one in buttons:
        one.evaluate("button => { setTimeout(() => button.click()) }")


def settled(pages: list[Page]) -> tuple[list[Page], list[Page]]:
    """Wait for the answers; returns the pages whose dialog has closed, and the refused ones."""
    done: list[Page] = []
    refused: list[Page] = []
    for page in pages:
        alert = page.get_by_role("dialog").get_by_role("alert")
        closed = page.locator("body:not(:has([role=dialog], dialog[open]))")
        closed.or_(alert).first.wait_for()
        (refused if alert.count() else done).append(page)
    return done, refused


def test_of_two_edits_of_one_key_at_once_one_is_refused(open_console: Open, client: Client) -> None:
    client.put(b"shared", b"first")
    pages = [open_console(member).open("keys", key="shared") for member in (0, 1)]
    for number, page in enumerate(pages):
        page.get_by_role("button", name="Edit").click()
        page.get_by_role("dialog").get_by_label("Value").fill(f"of console {number}")
        page.get_by_role("dialog").get_by_role("button", name="Review").click()
    press_at_once(pages, "Put")
    (winner,), (loser,) = settled(pages)
    kept = f"of console {pages.index(winner)}"
    expect(loser.get_by_role("dialog").get_by_role("alert")).to_contain_text("Nothing was written")
    expect(loser.get_by_role("dialog").locator("pre")).to_have_text(kept)
    found = client.range(b"shared").kvs[0]
    assert (found.value, found.version) == (kept.encode(), 2)


def test_a_key_that_one_console_deletes_is_not_put_by_the_other(
    open_console: Open, client: Client
) -> None:
    client.put(b"shared", b"first")
    pages = [open_console(member).open("keys", key="shared") for member in (0, 1)]
    pages[0].get_by_role("button", name="Edit").click()
    pages[0].get_by_role("dialog").get_by_label("Value").fill("again")
    pages[0].get_by_role("dialog").get_by_role("button", name="Review").click()
    pages[1].get_by_role("button", name="Delete", exact=True).click()
    pages[1].get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(pages[1].get_by_role("dialog")).to_have_count(0)
    pages[0].get_by_role("dialog").get_by_role("button", name="Put", exact=True).click()
    expect(pages[0].get_by_role("dialog").get_by_role("alert")).to_contain_text(
        "Nothing was written"
    )
    assert client.range(b"shared").count == 0


def test_a_member_that_two_consoles_remove_is_removed_once(
    open_console: Open, cluster: LocalCluster, client: Client
) -> None:
    added = once_allowed(lambda: client.member_add("http://127.0.0.1:1", learner=True), UNHEALTHY)
    learner = f"{added.member.ID:x}"
    consoles = [open_console(member) for member in (0, 1)]
    pages = []
    for console in consoles:
        console.tolerate("404 (Not Found)")
        page = console.open("operations")
        page.get_by_role("row", name=learner).get_by_role("button", name="Remove").click()
        page.get_by_role("dialog").get_by_label("to confirm").fill(learner)
        pages.append(page)
    press_at_once(pages, "Remove")
    _, (second,) = settled(pages)
    expect(second.get_by_role("dialog").get_by_role("alert")).to_contain_text("member not found")
    second.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    for page in pages:
        expect(page.get_by_role("row", name=learner)).to_have_count(0)
    assert len(client.members().members) == 3
