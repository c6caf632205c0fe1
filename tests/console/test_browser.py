"""What the tests of the console rely on: the browser's limits, and what a page records."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Browser, Error

from tests.console.browser import Console

PAGES = {
    "/clean": "<p>nothing",
    "/console-error": "<script src='/error.js'></script>",
    "/uncaught": "<script src='/uncaught.js'></script>",
    "/inline": "<script>document.title = 'ran'</script>",
    "/style": "<p style='color: red'>",
    "/foreign": "<img src='http://192.0.2.1/pixel.png'>",
    "/error.js": "console.error('said')",
    "/uncaught.js": "throw new Error('thrown')",
    "/favicon.ico": "",
}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = PAGES[self.path].encode()
        self.send_response(200)
        kind = "text/javascript" if self.path.endswith(".js") else "text/html"
        self.send_header("Content-Type", kind)
        self.send_header(
            "Content-Security-Policy", "default-src 'self'; img-src 'self' http://192.0.2.1"
        )
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("path", "recorded"),
    [
        ("/clean", []),
        ("/console-error", ["said"]),
        ("/uncaught", ["thrown"]),
        ("/inline", ["Content Security Policy"]),
        ("/style", ["Content Security Policy"]),
        ("/foreign", ["http://192.0.2.1/pixel.png"]),
    ],
)
def test_a_page_records_errors_policy_violations_and_foreign_requests(
    browser: Browser, site: str, path: str, recorded: list[str]
) -> None:
    console = Console(browser, site)
    console.tolerate("ERR_PROXY_CONNECTION_FAILED")  # of the foreign picture
    try:
        console.page.goto(site + path, wait_until="networkidle")
        assert len(console.problems) == len(recorded), console.problems
        for part, problem in zip(recorded, console.problems, strict=True):
            assert part in problem
    finally:
        console.close()


def test_an_announced_error_is_no_problem(browser: Browser, site: str) -> None:
    console = Console(browser, site)
    console.tolerate("said")
    try:
        console.page.goto(site + "/console-error", wait_until="networkidle")
        assert console.problems == []
    finally:
        console.close()


def test_the_browser_reaches_loopback_and_nothing_else(browser: Browser, site: str) -> None:
    page = browser.new_page()
    try:
        page.goto(site + "/clean")
        for foreign in ("http://192.0.2.1/", "https://example.com/"):
            with pytest.raises(Error, match="ERR_PROXY_CONNECTION_FAILED"):
                page.goto(foreign)
    finally:
        page.close()
