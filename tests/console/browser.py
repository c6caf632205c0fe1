"""Chromium, limited to loopback, and a page of it that records what must not happen."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    expect,
    sync_playwright,
)

#: Milliseconds that a condition of a page may take, on a loaded machine.
PATIENCE = 20_000

#: Where pictures are written.
PICTURES = Path(__file__).parents[2] / "build" / "console"

#: Width and height of a desktop window, and of a phone.
DESKTOP = (1280, 800)
PHONE = (360, 740)


def executable() -> str:
    """Return the path of Chromium. Raises FileNotFoundError if there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    raise FileNotFoundError("Chromium is missing: apt-get install chromium")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run Chromium; it reaches loopback addresses and nothing else.

    All other addresses go by a proxy, whose port accepts no connection: loopback needs no proxy.
    """
    with socket.socket() as closed, sync_playwright() as playwright:
        closed.bind(("127.0.0.1", 0))  # no listen: a connection is refused
        arguments = [f"--proxy-server=127.0.0.1:{closed.getsockname()[1]}"]
        if os.geteuid() == 0:
            arguments.append("--no-sandbox")  # the sandbox refuses to run as root
        browser = playwright.chromium.launch(executable_path=executable(), args=arguments)
        try:
            yield browser
        finally:
            browser.close()


class Console:
    """The console of one member in a tab of its own.

    `problems` collects errors of the page, refusals of its Content-Security-Policy (they are errors
    of the page, too) and requests to another address than the member's. Errors that a test provokes
    are announced by `tolerate`.
    """

    def __init__(self, browser: Browser, url: str) -> None:
        """`url`: of the member, with the prefix of a reverse proxy if there is one."""
        self.url = url.rstrip("/")
        self.problems: list[str] = []
        self._tolerated: list[str] = []
        self.context: BrowserContext = browser.new_context(
            viewport={"width": DESKTOP[0], "height": DESKTOP[1]}, reduced_motion="reduce"
        )
        self.context.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        self.context.on("request", self._requested)
        self.page: Page = self.context.new_page()
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self._found(f"uncaught: {error}"))
        self.page.on("crash", lambda _: self._found("the page crashed"))

    def open(self, name: str = "cluster", **params: Any) -> Page:
        """Go to a page of the console and wait for its heading."""
        query = f"?{urlencode(params)}" if params else ""
        target = f"{self.url}/console/#/{name}{query}"
        if self.page.url.split("#")[0] == target.split("#")[0]:
            # Another fragment alone is no navigation: what the application holds in memory stays.
            self.page.evaluate("hash => { location.hash = hash }", f"#/{name}{query}")
        else:
            self.page.goto(target)
        expect(self.page.locator("main h1, main h2").first).to_be_visible()
        return self.page

    def look(self, theme: str = "light", size: tuple[int, int] = DESKTOP) -> None:
        """Choose what the page is told of colours and of the window."""
        self.page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
        self.page.set_viewport_size({"width": size[0], "height": size[1]})

    def picture(self, name: str) -> Path:
        """Write build/console/`name`.png."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        path = PICTURES / f"{name}.png"
        self.page.screenshot(path=path, full_page=True, animations="disabled")
        return path

    def tolerate(self, *parts: str) -> None:
        """Announce errors of which a part of the text is given: the test provokes them."""
        self._tolerated.extend(parts)

    def close(self) -> None:
        self.context.close()

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "assert"):
            self._found(f"console: {message.text} ({message.location.get('url', '')})")

    def _requested(self, request: Request) -> None:
        at, home = urlsplit(request.url), urlsplit(self.url)
        if at.scheme not in ("data", "blob") and (at.scheme, at.netloc) != (
            home.scheme,
            home.netloc,
        ):
            self._found(f"request to another host: {request.url}")

    def _found(self, problem: str) -> None:
        if not any(part in problem for part in self._tolerated):
            self.problems.append(problem)
