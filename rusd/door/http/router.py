"""Finds the page of a request, and answers for requests without one.

    HTTP/1.1 ── server.py ──┐
                            ├── Router.serve(request) ── page
    HTTP/2 ──── http2.py ───┘

The rest of the door sees pages through the router alone.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Mapping
from urllib.parse import parse_qs, unquote, urlsplit

from rusd.base.logs import get_logger
from rusd.base.pending import Pending
from rusd.rpc.call import Caller
from rusd.rpc.pages import (
    BodyMemoryExceeded,
    BodyTimeout,
    BodyTooLarge,
    Page,
    PageRequest,
    PageResponse,
    RequestBody,
)

log = get_logger(__name__)

#: Requests that go on in one turn of the loop.
AT_ONCE = 8

TEXT = ("Content-Type", "text/plain; charset=utf-8")
NOSNIFF = ("X-Content-Type-Options", "nosniff")

NOT_FOUND = PageResponse(404, [TEXT, NOSNIFF], b"404 page not found\n")
_FAILED = PageResponse(500, [TEXT, NOSNIFF], b"Internal Server Error\n")
_REFUSED = {
    BodyTooLarge: PageResponse(413, [TEXT, NOSNIFF], b"Request Entity Too Large\n"),
    BodyTimeout: PageResponse(408, [TEXT, NOSNIFF], b"Request Timeout\n"),
    BodyMemoryExceeded: PageResponse(503, [TEXT, NOSNIFF], b"Service Unavailable\n"),
}


def not_allowed(*methods: str) -> PageResponse:
    """Refuses every method but `methods`."""
    allow = ("Allow", ", ".join(methods))
    return PageResponse(405, [TEXT, NOSNIFF, allow], b"Method Not Allowed\n")


class Router:
    """The pages of one member by path."""

    def __init__(self, pages: Mapping[str, Page]) -> None:
        """A path that ends with a slash stands for all paths below it; the longest one counts."""
        self._pages = dict(pages)
        self._below = sorted((path for path in pages if path.endswith("/")), key=len, reverse=True)
        self._turns = _Turns()

    async def serve(self, request: PageRequest) -> PageResponse:
        """The response of the page at the request's path. Raises nothing."""
        await self._turns.next()
        page = self._find(request.path)
        if page is None:
            return NOT_FOUND
        try:
            return await page(request)
        except (BodyTooLarge, BodyTimeout, BodyMemoryExceeded) as refusal:
            return _REFUSED[type(refusal)]
        except Exception:
            log.exception("a page failed", extra={"fields": {"page": request.path}})
            return _FAILED

    def _find(self, path: str) -> Page | None:
        page = self._pages.get(path)
        if page is not None:
            return page
        below = (root for root in self._below if path.startswith(root))
        root = next(below, None)
        return None if root is None else self._pages[root]


def page_request(
    method: str, target: str, headers: Mapping[str, str], body: RequestBody, caller: Caller
) -> PageRequest:
    """The request for `target`: path and query as in the request line, or an absolute URL."""
    path, query = _parsed(target)
    return PageRequest(method, path, query, headers, body, caller)


class _Turns:
    """Lets requests go on in their order, `AT_ONCE` in one turn of the loop: a client may pipeline
    thousands of requests, and pages that wait for nothing would all be made in one turn.
    """

    def __init__(self) -> None:
        self._waiting: deque[Pending[None]] = deque()

    def next(self) -> Awaitable[None]:
        """Resolves when the next request may go on."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._run)
        turn: Pending[None] = Pending()
        self._waiting.append(turn)
        return turn

    def _run(self) -> None:
        for _ in range(min(AT_ONCE, len(self._waiting))):
            self._waiting.popleft().set_result(None)
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._run)


def _parsed(target: str) -> tuple[str, dict[str, list[str]]]:
    """Path and query; the path "/" if the target is not a URL."""
    if not target.startswith("/"):
        try:
            parts = urlsplit(target)
        except ValueError:
            return "/", {}
        target = f"{parts.path or '/'}?{parts.query}"
    path, _, query = target.partition("#")[0].partition("?")
    path = unquote(path)
    return path if path.startswith("/") else f"/{path}", parse_qs(query, keep_blank_values=True)
