"""The page Keys: the tree, the list, values in all forms, and changes that compare revisions."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, Request, Route, expect

from rusd.proto import rpc_pb2 as rpc
from tests.console.browser import PHONE, Console
from tests.console.walk import width
from tests.support.client import Client

HOSTILE = (
    b"<script>alert(1)<script>",
    b"<img src=x onerror=alert(1)>",
    b"\x00\x01control\n\ttab",
    b"\xff\xfe invalid \xc3(",
    "\u202egnp.exe".encode(),
    b"back\\slash",
    b"__proto__",
    b" spaces ",
    b"L" * 10_240,
)


def row(page: Page, name: str) -> Locator:
    return page.get_by_role("treeitem").filter(has=page.get_by_text(name, exact=True))


def detail(page: Page) -> Locator:
    return page.locator("article.detail")


def value(page: Page) -> Locator:
    """The value of the chosen key, in the form that is shown."""
    return page.locator("article.detail > .value pre")


def field(number: int, value: bytes | str | int) -> bytes:
    """A field of a protobuf message, shorter than 128 bytes."""
    if isinstance(value, int):
        return bytes((number << 3, value))
    encoded = value.encode() if isinstance(value, str) else value
    assert len(encoded) < 128
    return bytes((number << 3 | 2, len(encoded))) + encoded


def test_the_tree_opens_level_by_level_and_shows_the_chosen_key(
    console: Console, client: Client
) -> None:
    client.put(b"/app/config/colour", b"green")
    client.put(b"/app/state", b"on")
    client.put(b"other", b"")
    page = console.open("keys")
    row(page, "/").click()
    # A branch that is alone on its level opens with the one above.
    row(page, "config/").click()
    row(page, "colour").click()
    expect(detail(page).get_by_role("heading", level=2)).to_have_text("/app/config/colour")
    expect(value(page)).to_have_text("green")
    row(page, "other").click()
    expect(detail(page)).to_contain_text("The value is empty.")
    page.go_back()
    expect(value(page)).to_have_text("green")


def test_the_tree_is_walked_by_the_keyboard(console: Console, client: Client) -> None:
    for key in (b"a/1", b"a/2", b"b"):
        client.put(key, b"of " + key)
    page = console.open("keys")
    row(page, "a/").focus()
    for key in ("ArrowRight", "ArrowDown", "ArrowDown", "Enter"):
        expect(page.locator("[role=tree] [tabindex='0']:focus")).to_have_count(1)
        if key == "ArrowDown":
            expect(row(page, "2")).to_be_visible()
        page.keyboard.press(key)
    expect(value(page)).to_have_text("of a/2")
    page.keyboard.press("ArrowLeft")
    expect(row(page, "a/")).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(row(page, "a/")).to_have_attribute("aria-expanded", "false")
    page.keyboard.press("End")
    expect(row(page, "b")).to_be_focused()


def test_no_request_asks_for_all_keys(console: Console, client: Client) -> None:
    for start in range(0, 3000, 100):
        client.txn(
            rpc.TxnRequest(
                success=[
                    rpc.RequestOp(request_put=rpc.PutRequest(key=b"many/%06d" % number))
                    for number in range(start, start + 100)
                ]
            )
        )
    client.put(b"zebra", b"")
    asked: list[Request] = []
    console.page.on("request", lambda one: asked.append(one))
    page = console.open("keys")
    expect(row(page, "zebra")).to_be_visible()
    levels = [one for one in asked if "/api/level" in one.url]
    assert len(levels) == 1
    row(page, "many/").click()
    expect(row(page, "000099")).to_be_visible()
    expect(row(page, "000100")).to_have_count(0)
    page.get_by_role("treeitem", name="Show more").click()
    expect(row(page, "000199")).to_be_visible()
    page.get_by_role("tab", name="List").click()
    expect(page.get_by_role("status").filter(has_text="Keys 1 to 100 of 3,001")).to_be_visible()
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_role("status").filter(has_text="Keys 101 to 200 of 3,001")).to_be_visible()
    for one in asked:
        if "/api/level" in one.url:
            assert parse_qs(urlsplit(one.url).query)["limit"] == ["100"]
        if one.url.endswith("/v3/kv/range"):
            body = json.loads(one.post_data or "")
            assert "range_end" not in body or body.get("limit") == "100"


def test_hostile_names_are_text(console: Console, client: Client) -> None:
    for number, key in enumerate(HOSTILE):
        client.put(b"%d/" % number + key, b"<b>value of %d</b>" % number)
    page = console.open("keys")
    for number in range(len(HOSTILE)):
        row(page, f"{number}/").click()
        expect(page.locator("[role=treeitem].key")).to_have_count(number + 1)
        page.locator("[role=treeitem].key").last.click()
        expect(value(page)).to_have_text(f"<b>value of {number}</b>")
    assert page.locator("main script, main img, main b").count() == 0
    # The address leads to the same key again, 10 kB long.
    page.reload()
    expect(value(page)).to_have_text(f"<b>value of {len(HOSTILE) - 1}</b>")
    console.look(size=PHONE)
    assert width(page) <= PHONE[0]


def test_an_object_of_kubernetes_is_read(console: Console, client: Client) -> None:
    metadata = field(1, "settings") + field(3, "shop")
    metadata += field(11, field(1, "tier") + field(2, "gold"))
    config = field(1, metadata) + field(2, field(1, "colour") + field(2, "green"))
    config += field(4, 1) + field(9, 7)
    envelope = b"k8s\0" + field(1, field(1, "v1") + field(2, "ConfigMap")) + field(2, config)
    client.put(b"/registry/configmaps/shop/settings", envelope)
    page = console.open("keys", key="/registry/configmaps/shop/settings")
    expect(detail(page)).to_contain_text("ConfigMap")
    expect(detail(page)).to_contain_text("tier=gold")
    expect(value(page)).to_have_text(
        "metadata:\n  name: settings\n  namespace: shop\n  labels:\n    tier: gold\n"
        "data:\n  colour: green\nimmutable: true\nfield 9: 7"
    )
    page.get_by_role("tab", name="Hex").click()
    expect(value(page)).to_contain_text("6b 38 73 00")


def test_json_keeps_every_digit(console: Console, client: Client) -> None:
    client.put(b"json", b'{"n":12345678901234567890,"list":[1.50]}')
    page = console.open("keys", key="json")
    shown = '{\n  "n": 12345678901234567890,\n  "list": [\n    1.50\n  ]\n}'
    expect(value(page)).to_have_text(shown)


def test_a_large_value_is_cut_and_downloaded_whole(console: Console, client: Client) -> None:
    written = b"x" + "ä".encode() * 700_000
    client.put(b"large", written)
    page = console.open("keys", key="large")
    expect(detail(page)).to_contain_text("1.4 MB")
    expect(page.get_by_role("tab", name="Text")).to_be_visible()
    assert len(value(page).inner_text()) <= 256 * 1024
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    assert download.value.path().read_bytes() == written
    # A value of this size is written from a file, whole as well.
    page.get_by_role("button", name="Edit").click()
    dialog = page.get_by_role("dialog")
    replacement = {"name": "new", "mimeType": "text/plain", "buffer": b"\xff" * 1_000_000}
    dialog.get_by_label("Value").set_input_files([replacement])
    expect(dialog).to_contain_text("1.0 MB chosen")
    dialog.get_by_role("button", name="Review").click()
    dialog.get_by_role("button", name="Put", exact=True).click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert client.range(b"large").kvs[0].value == b"\xff" * 1_000_000


def test_an_edit_is_refused_if_the_key_changed_meanwhile(console: Console, client: Client) -> None:
    client.put(b"k", b"one\ntwo\n")
    page = console.open("keys", key="k")
    page.get_by_role("button", name="Edit").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Value").fill("one\nthree\n")
    dialog.get_by_role("button", name="Review").click()
    expect(dialog.locator(".removed")).to_have_text("- two\n")
    expect(dialog.locator(".added")).to_have_text("+ three\n")
    client.put(b"k", b"of another client")
    dialog.get_by_role("button", name="Put", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("Nothing was written")
    expect(dialog.locator("pre")).to_have_text("of another client")
    assert client.range(b"k").kvs[0].value == b"of another client"
    dialog.get_by_role("button", name="Compare my value with it").click()
    expect(dialog.locator(".removed")).to_have_text("- of another client\n")
    dialog.get_by_role("button", name="Put", exact=True).click()
    expect(value(page)).to_have_text("one\nthree\n")
    assert client.range(b"k").kvs[0].value == b"one\nthree\n"


def test_an_edit_keeps_the_lease_of_the_key(console: Console, client: Client) -> None:
    lease = client.grant(600).ID
    client.put(b"k", b"old", lease=lease)
    page = console.open("keys", key="k")
    expect(detail(page)).to_contain_text("left of 10 min")
    page.get_by_role("button", name="Edit").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Value").fill("new")
    dialog.get_by_role("button", name="Review").click()
    dialog.get_by_role("button", name="Put", exact=True).click()
    expect(value(page)).to_have_text("new")
    assert (client.range(b"k").kvs[0].value, client.range(b"k").kvs[0].lease) == (b"new", lease)


def test_a_new_key_of_any_bytes_is_put_only_if_it_does_not_exist(
    console: Console, client: Client
) -> None:
    page = console.open("keys")
    for value, refused in (("", False), ("again", True)):
        page.get_by_role("button", name="New key").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Key").fill(r"new/\xff\\é")
        dialog.get_by_label("Value").fill(value)
        dialog.get_by_role("button", name="Review").click()
        dialog.get_by_role("button", name="Put", exact=True).click()
        if refused:
            expect(dialog.get_by_role("alert")).to_contain_text("the key exists")
            page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)
        assert [kv.value for kv in client.range(b"new/\xff\\\xc3\xa9").kvs] == [b""]


def test_a_key_is_deleted_at_the_revision_that_was_shown_only(
    console: Console, client: Client
) -> None:
    client.put(b"k", b"one")
    page = console.open("keys", key="k")
    page.get_by_role("button", name="Delete", exact=True).click()
    dialog = page.get_by_role("dialog")
    client.put(b"k", b"two")
    dialog.get_by_role("button", name="Delete", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("Nothing was deleted")
    expect(dialog.locator("pre")).to_have_text("two")
    assert client.range(b"k").count == 1
    dialog.get_by_role("button", name="Delete this version").click()
    expect(detail(page)).to_contain_text("does not exist now")
    assert client.range(b"k").count == 0


def test_all_keys_below_a_branch_are_deleted_after_their_number_is_typed(
    console: Console, client: Client
) -> None:
    for key in (b"dir/a", b"dir/b", b"dir0", b"di"):
        client.put(key, b"")
    page = console.open("keys")
    row(page, "dir/").click()
    page.get_by_role("button", name="Delete all below").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("2 keys begin with this prefix")
    client.put(b"dir/c", b"")
    dialog.get_by_label("to confirm").fill("2")
    dialog.get_by_role("button", name="Delete 2 keys").click()
    expect(dialog.get_by_role("alert")).to_contain_text("Nothing was deleted")
    assert client.range(b"dir/", b"dir0").count == 3
    dialog.get_by_label("to confirm").fill("3")
    dialog.get_by_role("button", name="Delete 3 keys").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert [kv.key for kv in client.range(b"\0", b"\0").kvs] == [b"di", b"dir0"]


def test_a_read_only_member_offers_no_change(console: Console, client: Client) -> None:
    client.put(b"k", b"value")

    def state(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json={**answer.json(), "read_only": True})

    console.page.route("**/console/api/state*", state)
    page = console.open("keys", key="k")
    expect(value(page)).to_have_text("value")
    for name in ("Edit", "Delete", "New key"):
        expect(page.get_by_role("button", name=name)).to_have_count(0)


def test_axe_finds_no_barrier_beside_a_chosen_key_and_in_dialogs(
    console: Console, client: Client
) -> None:
    for number in range(120):
        client.put(b"dir/%03d" % number, b'{"a": 1}')
    page = console.open("keys", key="dir/000")
    expect(value(page)).to_be_visible()
    expect(page.get_by_role("treeitem", name="Show more")).to_be_visible()
    barriers = []
    for name in ("", "Edit", "Delete", "Delete all below"):
        if name:
            page.get_by_role("button", name=name, exact=len(name) < 10).click()
            expect(page.get_by_role("dialog")).not_to_contain_text("Counting")
        for violation in Axe().run(page).response["violations"]:
            nodes = [node["html"][:200] for node in violation["nodes"][:3]]
            barriers.append(f"{name}: {violation['id']}: {violation['help']}: {nodes}")
        if name:
            page.keyboard.press("Escape")
    assert not barriers, "\n".join(barriers)


def test_a_value_that_a_text_field_would_change_is_written_back_unchanged(
    console: Console, client: Client
) -> None:
    """A byte order mark, line ends of two bytes, and bytes that are no UTF-8."""
    for number, written in enumerate((b"\xef\xbb\xbfmarked", b"two\r\nlines", b"\xff\xfe{}")):
        name = b"odd\xff/%d" % number
        before = client.put(name, written).header.revision
        page = console.open("keys", key=f"odd\\xff/{number}")
        detail(page).get_by_role("button", name="Edit").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("tab", name="Text").click()
        expect(dialog.get_by_role("alert")).to_contain_text("As text this value would change")
        dialog.get_by_role("button", name="Review").click()
        dialog.get_by_role("button", name="Put").click()
        expect(dialog).to_have_count(0)
        found = client.range(name).kvs[0]
        assert (found.value, found.mod_revision) == (written, before + 1)
