"""The page Time travel: the keys at a revision, and the changes of one key."""

from __future__ import annotations

import itertools
import time

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from rusd.proto import rpc_pb2 as rpc
from tests.console.browser import PHONE, Console
from tests.console.walk import width
from tests.support.client import Client

_numbers = itertools.count()


def names(page: Page) -> Locator:
    return page.locator("[role=treeitem] .name")


def changes(page: Page) -> Locator:
    return page.locator(".versions li")


def put(client: Client, key: str, *values: bytes) -> list[int]:
    """The revisions."""
    return [client.put(key.encode(), value).header.revision for value in values]


@pytest.fixture
def name() -> str:
    """A key without a history in the store that the tests share."""
    return f"key-{next(_numbers)}"


def test_the_slider_shows_the_tree_as_it_was(console: Console, client: Client) -> None:
    first = client.put(b"a/1", b"").header.revision
    client.put(b"b", b"")
    gone = client.delete(b"a/1").header.revision
    page = console.open("history", revision=first)
    expect(names(page)).to_have_text(["a/", "1"])
    slider = page.get_by_role("slider", name="Revision")
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(names(page)).to_have_text(["a/", "1", "b"])
    expect(page.get_by_role("textbox", name="Revision")).to_have_value(str(first + 1))
    page.get_by_role("button", name="One revision forward").click()
    expect(names(page)).to_have_text(["b"])
    assert gone == first + 2
    page.get_by_role("textbox", name="Revision").fill(str(first))
    page.keyboard.press("Enter")
    expect(names(page)).to_have_text(["a/", "1"])
    page.get_by_role("button", name="Now").click()
    expect(names(page)).to_have_text(["b"])


def test_the_history_of_a_key_has_its_deletions_and_new_creations(
    console: Console, client: Client, name: str
) -> None:
    first, second = put(client, name, b"one\ntwo\n", b"one\nthree\n")
    gone = client.delete(name.encode()).header.revision
    (last,) = put(client, name, b"new")
    put(client, name + "0", b"of another key")
    page = console.open("history", key=name)
    expect(changes(page)).to_have_count(4)
    shown = [" ".join(text.split()) for text in changes(page).all_inner_texts()]
    assert shown == [
        f"{last:,} created 3 B",
        f"{gone:,} deleted",
        f"{second:,} version 2 10 B",
        f"{first:,} created 8 B",
    ]
    changes(page).nth(2).get_by_role("button").click()
    expect(page.locator(".diff .removed")).to_have_text("- two\n")
    expect(page.locator(".diff .added")).to_have_text("+ three\n")
    page.keyboard.press("ArrowUp")
    expect(page.locator(".diff .removed")).to_have_text(["- one\n", "- three\n", "- \n"])
    expect(page.locator(".diff .added")).to_have_count(0)
    page.keyboard.press("ArrowDown")
    page.get_by_role("tab", name="Against now").click()
    expect(page.locator(".diff .added")).to_have_text("+ new\n")
    page.get_by_role("tab", name="Value").click()
    expect(page.locator(".change .value pre")).to_have_text("one\nthree\n")
    page.get_by_role("button", name="Show all keys at this revision").click()
    expect(names(page)).to_have_text([name])
    expect(page.locator(".versions .selected")).to_contain_text(f"at {second:,}")


def test_json_is_compared_line_by_line(console: Console, client: Client, name: str) -> None:
    put(client, name, b'{"a":1,"b":[1,2]}', b'{"a":1,"b":[1,3]}')
    page = console.open("history", key=name)
    expect(page.locator(".diff")).to_contain_text("compared as JSON")
    expect(page.locator(".diff .removed")).to_have_text("-     2\n")
    expect(page.locator(".diff .added")).to_have_text("+     3\n")


def test_a_difference_that_a_form_hides_is_shown_in_another(
    console: Console, client: Client, name: str
) -> None:
    def secret(password: bytes) -> bytes:
        data = b"\x0a\x01p\x12" + bytes((len(password),)) + password
        content = b"\x0a\x03\x0a\x01s\x12" + bytes((len(data),)) + data
        kind = b"\x0a\x0c\x0a\x02v1\x12\x06Secret"
        return b"k8s\0" + kind + b"\x12" + bytes((len(content),)) + content

    put(client, name, b'{"a":1}', b'{"a": 1}')
    page = console.open("history", key=name)
    expect(page.locator(".diff")).to_contain_text("compared as text")
    put(client, name, secret(b"first"), secret(b"other"))
    page.reload()
    expect(page.locator(".diff")).to_contain_text("compared as hexadecimal")
    page.get_by_role("tab", name="Value").click()
    expect(page.locator(".change .value pre")).to_contain_text("p: (5 bytes, not shown here)")


def test_a_long_history_is_read_in_pages(console: Console, client: Client, name: str) -> None:
    put(client, name, *(b"%d" % number for number in range(105)))
    page = console.open("history", key=name)
    expect(changes(page)).to_have_count(100)
    page.get_by_role("button", name="Show older changes").click()
    expect(changes(page)).to_have_count(105)
    expect(page.get_by_role("button", name="Show older changes")).to_have_count(0)


def test_values_that_differ_everywhere_are_compared_in_bounded_time(
    console: Console, client: Client, name: str
) -> None:
    put(
        client,
        name,
        b"".join(b"%d before\n" % number for number in range(60_000)),
        b"".join(b"%d after\n" % number for number in range(60_000)),
    )
    page = console.open("history", key=name)
    expect(page.locator(".diff")).to_contain_text("The first 2,000 lines of")
    began = time.monotonic()
    page.get_by_role("tab", name="Against now").click()
    expect(page.get_by_text("The values are equal.")).to_be_visible()
    assert time.monotonic() - began < 10


def test_an_old_value_is_put_again_beside_what_changed_meanwhile(
    console: Console, client: Client, name: str
) -> None:
    put(client, name, b"good", b"bad")
    page = console.open("history", key=name)
    changes(page).nth(1).get_by_role("button").click()
    page.get_by_role("button", name="Put this value again").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator(".removed")).to_have_text("- bad\n")
    put(client, name, b"worse")
    dialog.get_by_role("button", name="Put", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("Nothing was written")
    dialog.get_by_role("button", name="Compare my value with it").click()
    dialog.get_by_role("button", name="Put", exact=True).click()
    expect(changes(page)).to_have_count(4)
    assert client.range(name.encode()).kvs[0].value == b"good"


def test_a_compaction_meanwhile_is_told_in_words(
    console: Console, client: Client, name: str
) -> None:
    revisions = put(client, name, b"1", b"2", b"3", b"4")
    page = console.open("history", key=name, revision=revisions[2])
    expect(changes(page)).to_have_count(4)
    console.tolerate("status of 400")
    client.compact(revisions[2])
    # The list is of before; the value is read now.
    changes(page).nth(3).get_by_role("button").click()
    expect(page.locator(".change, .detail")).to_contain_text("has been compacted meanwhile")
    page.get_by_role("button", name="Read the history again").click()
    expect(changes(page)).to_have_count(2)
    expect(page.get_by_text("Older changes, if any, were removed")).to_be_visible()
    # The oldest version can be shown, but not what was before.
    changes(page).nth(1).get_by_role("button").click()
    expect(page.locator(".change")).to_contain_text("What was before has been compacted")
    expect(page.locator(".change .value pre")).to_have_text("3")
    page = console.open("history", revision=revisions[0])
    expect(page.get_by_role("alert")).to_contain_text("has been compacted")
    page.get_by_role("button", name="Go to").click()
    expect(names(page)).to_have_text([name])


def test_the_revision_of_a_moment_is_found(console: Console, client: Client, name: str) -> None:
    (revision,) = put(client, name, b"1")
    page = console.open("history")
    time.sleep(1.1)  # the field counts in seconds
    put(client, name + "0", b"2")
    moment = page.evaluate(
        """() => {
            const now = new Date();
            const local = new Date(now.getTime() - now.getTimezoneOffset() * 60000);
            return local.toISOString().slice(0, 19);
        }"""
    )
    page.get_by_label("Moment").fill(moment)
    page.get_by_role("button", name="Find revision").click()
    told = page.get_by_role("status").filter(has_text="was the newest at")
    expect(told).to_be_visible()
    assert revision > 0
    page.get_by_label("Moment").fill("2001-02-03T04:05:06")
    page.get_by_role("button", name="Find revision").click()
    expect(page.get_by_text("This member has no record of 2001-02-03 04:05:06")).to_be_visible()


def test_axe_finds_no_barrier_beside_a_history_on_any_screen(
    console: Console, client: Client, name: str
) -> None:
    put(client, name, b"1", b"2")
    client.delete(name.encode())
    client.txn(
        rpc.TxnRequest(success=[rpc.RequestOp(request_put=rpc.PutRequest(key=name.encode()))])
    )
    page = console.open("history", key=name)
    expect(changes(page)).to_have_count(4)
    barriers = []
    for view in ("Changes", "Against now", "Value"):
        page.get_by_role("tab", name=view).click()
        for violation in Axe().run(page).response["violations"]:
            nodes = [node["html"][:200] for node in violation["nodes"][:3]]
            barriers.append(f"{view}: {violation['id']}: {violation['help']}: {nodes}")
    assert not barriers, "\n".join(barriers)
    console.look(size=PHONE)
    assert width(page) <= PHONE[0]
    console.picture("history-of-a-key-phone")
