"""Every page of the console: it loads, anywhere, for everybody, on every screen."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.console.browser import DESKTOP, PHONE, Console
from tests.console.conftest import Open
from tests.console.prefix_proxy import prefix_proxy
from tests.console.walk import STOPS, Stop, fill, see, visit, width
from tests.support.client import Client

#: Bytes over the wire until the first page shows what it is for.
FIRST_PAINT = 300_000

#: Presses of the tab key until the walk through a page must have come around.
MANY_STOPS = 400

every_page = pytest.mark.parametrize("stop", STOPS, ids=lambda stop: stop.name)


@pytest.fixture
def since(client: Client) -> int:
    """A filled store, and the revision at which that began."""
    return fill(client)


@every_page
def test_a_page_shows_what_it_is_for_in_light_dark_and_phone_width(
    console: Console, since: int, stop: Stop
) -> None:
    page = visit(console, stop, since)
    expect(page.get_by_role("navigation").first.locator("[aria-current=page]")).to_have_count(1)
    expect(page.get_by_role("alert")).to_have_count(0)
    if stop.page == "cluster":
        expect(page.locator(".chart canvas").first).to_be_visible()
    for theme, size in (("light", DESKTOP), ("dark", DESKTOP), ("light", PHONE)):
        console.look(theme, size)
        see(page, stop.shows)
        console.picture(f"{stop.name}-{theme if size == DESKTOP else 'phone'}")
        assert width(page) <= size[0]


@every_page
def test_axe_finds_no_barrier(console: Console, since: int, stop: Stop) -> None:
    page = visit(console, stop, since)
    barriers = []
    for theme in ("light", "dark"):
        console.look(theme)
        for violation in Axe().run(page).response["violations"]:
            nodes = [node["html"][:200] for node in violation["nodes"][:3]]
            barriers.append(f"{theme}: {violation['id']}: {violation['help']}: {nodes}")
    assert not barriers, "\n".join(barriers)


@every_page
def test_the_focus_is_seen_at_every_step_of_the_tab_key(
    console: Console, since: int, stop: Stop
) -> None:
    page = visit(console, stop, since)
    page.evaluate("document.body.setAttribute('tabindex', '-1'); document.body.focus()")
    seen = 0
    for _ in range(MANY_STOPS):
        page.keyboard.press("Tab")
        at = page.evaluate(
            """() => {
                const now = document.activeElement;
                if (!now || now === document.body) return null;
                const style = getComputedStyle(now);
                const box = now.getBoundingClientRect();
                return {
                    what: now.outerHTML.slice(0, 200),
                    ringed: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0,
                    visible: box.width > 0 && box.height > 0 && box.right > 0 && box.bottom > 0,
                };
            }"""
        )
        if at is None:
            break
        seen += 1
        assert at["ringed"] and at["visible"], at["what"]
    else:
        pytest.fail("the tab key never leaves the page")
    assert seen >= 7  # the link to the page, the name, and five pages


def test_the_first_page_needs_few_bytes_over_the_wire(console: Console, since: int) -> None:
    received: list[int] = []
    session = console.context.new_cdp_session(console.page)
    session.on("Network.loadingFinished", lambda end: received.append(end["encodedDataLength"]))
    session.send("Network.enable")
    see(console.open("cluster"), "rusd-3")
    assert len(received) >= 5  # the document, the style, and modules
    assert 0 < sum(received) < FIRST_PAINT
    print(f"{sum(received)} bytes until the cluster was seen")


@pytest.fixture
def proxied(client: Client) -> Iterator[str]:
    """The URL of the first member behind a proxy, which outlives the pages: they keep asking."""
    with prefix_proxy(f"http://{client.endpoint}", "/ops/etcd") as url:
        yield url


def test_every_page_works_behind_a_reverse_proxy_below_a_path(
    proxied: str, open_console: Open, since: int
) -> None:
    console = open_console(proxied)
    for stop in STOPS:
        visit(console, stop, since)
        expect(console.page.get_by_role("alert")).to_have_count(0)


def test_the_keyboard_alone_leads_to_a_page_and_back(console: Console) -> None:
    page = console.open("cluster")
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the page")).to_be_focused()
    live = page.get_by_role("navigation").first.get_by_role("link", name="Live")
    for _ in range(10):
        page.keyboard.press("Tab")
        if live.evaluate("link => link === document.activeElement"):
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1, name="Live")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", level=1, name="Cluster")).to_be_attached()
