"""The pages of the console, a store to look at, and questions to a page."""

from __future__ import annotations

from typing import Any, NamedTuple

from playwright.sync_api import Page

from tests.console.browser import Console
from tests.support.client import Client


class Stop(NamedTuple):
    """A page of the console, by its address."""

    name: str
    page: str
    params: dict[str, Any]
    #: Text that is seen when the page shows what it is for.
    shows: str


#: In the place of the revision at which `fill` began.
SINCE = "since"

STOPS = (
    Stop("cluster", "cluster", {}, "rusd-3"),
    Stop("keys", "keys", {}, ""),
    Stop("history", "history", {}, ""),
    Stop("live-watch", "live", {"tab": "watch", "key": "app/", "from": SINCE}, "app/config/7"),
    Stop("live-leases", "live", {"tab": "leases"}, "Lease"),
    Stop("live-locks", "live", {"tab": "locks"}, "locks/deploy"),
    Stop("operations", "operations", {}, ""),
)


def lock(client: Client, name: bytes, ttl: int = 600, value: bytes = b"") -> int:
    """Wait in line for a lock, or for an election if there is a value; returns the lease."""
    lease = client.grant(ttl).ID
    client.put(b"%s/%x" % (name, lease), value, lease=lease)
    return lease


def fill(client: Client) -> int:
    """Write something for every page; returns the revision of the first write."""
    since: int = client.put(b"app/config/0", b"first").header.revision
    for number in range(8):
        client.put(b"app/config/%d" % number, b'{"number": %d, "of": ["a", "list"]}' % number)
        client.put(b"app/config/%d" % number, b'{"number": %d, "of": ["b", "list"]}' % number)
    client.put(b"app/bytes/\x00\xff", bytes(range(256)))
    client.put(b"app/<b>markup</b>", b"<script>alert(1)</script>")
    client.put(
        b"/registry/configmaps/default/settings",
        b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"settings",'
        b'"namespace":"default"},"data":{"colour":"green"}}',
    )
    client.delete(b"app/config/0")
    client.put(b"app/session", b"of a lease", lease=client.grant(900).ID)
    for number in range(3):
        lock(client, b"locks/deploy")
        lock(client, b"election/scheduler", value=b"host-%d.example:8080" % number)
    return since


def visit(console: Console, stop: Stop, since: int) -> Page:
    """Open a page and wait until it shows what it is for. `since`: what `fill` returned."""
    params = {name: since if value == SINCE else value for name, value in stop.params.items()}
    page = console.open(stop.page, **params)
    see(page, stop.shows)
    return page


def see(page: Page, text: str) -> None:
    """Wait until the page shows a text."""
    if text:
        page.locator("main").get_by_text(text).locator("visible=true").first.wait_for()


def width(page: Page) -> int:
    """Return the width of the content, in pixels: what is wider than the window is cut off."""
    wide: int = page.evaluate("document.documentElement.scrollWidth")
    return wide
