"""Routes a request to its page, and responds to requests without one.

    HTTP/1.1 ── server.py ──┐
                            ├── Router.serve(request) ── page
    HTTP/2 ──── http2.py ───┘

The rest of the door sees pages through the router alone.
"""

import asyncio
import re
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from html import escape
from posixpath import normpath
from types import MappingProxyType
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from rusd.base.logs import get_logger
from rusd.base.pending import Pending
from rusd.rpc.call import Caller
from rusd.rpc.pages import (
    BodyMalformed,
    BodyMemoryExceeded,
    BodyTimeout,
    BodyTooLarge,
    DirectPage,
    Page,
    PageRequest,
    PageResponse,
    RequestBody,
    Respond,
    nothing_to_cancel,
)

log = get_logger(__name__)

#: Requests that go on in one turn of the loop.
AT_ONCE = 8
#: Parameters of a query; of more none is read, as in Go (10,000 there).
PARAMETERS = 1000

TEXT = ("Content-Type", "text/plain; charset=utf-8")
_HTML = ("Content-Type", "text/html; charset=utf-8")
NOSNIFF = ("X-Content-Type-Options", "nosniff")

NOT_FOUND = PageResponse(404, [TEXT, NOSNIFF], b"404 page not found\n")
_BAD_REQUEST = PageResponse(400, [TEXT], b"400 Bad Request")
_FAILED = PageResponse(500, [TEXT, NOSNIFF], b"Internal Server Error\n")
_REFUSED = {
    BodyTooLarge: PageResponse(413, [TEXT, NOSNIFF], b"Request Entity Too Large\n"),
    BodyTimeout: PageResponse(408, [TEXT, NOSNIFF], b"Request Timeout\n"),
    BodyMalformed: PageResponse(400, [TEXT, NOSNIFF], b"Bad Request\n"),
    BodyMemoryExceeded: PageResponse(503, [TEXT, NOSNIFF], b"Service Unavailable\n"),
}


def not_allowed(*methods: str) -> PageResponse:
    """Return a 405 response that allows only `methods`."""
    allow = ("Allow", ", ".join(methods))
    return PageResponse(405, [TEXT, NOSNIFF, allow], b"Method Not Allowed\n")


class Router:
    """The pages of one member by path."""

    def __init__(
        self,
        pages: Mapping[str, Page],
        sockets: Sequence[str] = (),
        direct: Mapping[str, DirectPage] = MappingProxyType({}),
    ) -> None:
        """Map paths to pages. A path with a final slash includes all paths below it; the longest
        match counts.

        `sockets`: paths with a final slash whose pages accept WebSockets. `direct`: pages that
        answer most requests without a task, by the same paths.
        """
        self._pages = dict(pages)
        self._direct = {pages[path]: begin for path, begin in direct.items()}
        self._sockets = tuple(sockets)
        self._below = sorted((path for path in pages if path.endswith("/")), key=len, reverse=True)
        self._turns = _Turns()

    async def serve(self, request: PageRequest) -> PageResponse:
        """Return the response of the page at the request's path. Never raises."""
        await self._turns.next()
        if _BAD_ESCAPE.search(request.raw_path):
            return _BAD_REQUEST
        path = _routed(request)
        page = self._find(path)
        if page is None or not _is_clean(request.raw_path):
            return self._redirect(request)
        try:
            return await page(request)
        except tuple(_REFUSED) as refusal:
            return _REFUSED[type(refusal)]
        except Exception:
            log.exception("a page failed", extra={"fields": {"page": request.path}})
            return _FAILED

    def begin(
        self, request: PageRequest, body: bytes, respond: Respond
    ) -> Callable[[], None] | None:
        """See `DirectPage`. Not behind `_turns`: the caller spends the door's time budget."""
        raw = request.raw_path
        if "%" in raw or not _is_clean(raw):
            return None
        page = self._find(request.path)
        begin = None if page is None else self._direct.get(page)
        if begin is None:
            return None
        try:
            return begin(request, body, respond)
        except Exception:
            log.exception("a page failed", extra={"fields": {"page": request.path}})
            respond(_FAILED)
            return nothing_to_cancel

    def accepts_socket(self, request: PageRequest) -> bool:
        """Return whether a WebSocket may be opened at the request's path."""
        return _routed(request).startswith(self._sockets) and _is_clean(request.raw_path)

    def _redirect(self, request: PageRequest) -> PageResponse:
        """Redirect to the clean path (slashes and dots removed, as Go's ServeMux does) if it has a
        page; else return NOT_FOUND.
        """
        path = clean(request.raw_path)
        if f"{path}/" in self._below and path not in self._pages:
            path += "/"
        if path == request.raw_path or self._find(_decoded(path)) is None:
            return NOT_FOUND
        query = f"?{urlencode(request.query, doseq=True)}" if request.query else ""
        location = ("Location", path + query)
        if request.method not in ("GET", "HEAD"):
            return PageResponse(307, [location])
        link = f'<a href="{escape(path + query)}">Temporary Redirect</a>.\n\n'
        return PageResponse(307, [location, _HTML], link.encode())

    def _find(self, path: str) -> Page | None:
        page = self._pages.get(path)
        if page is not None:
            return page
        below = (root for root in self._below if path.startswith(root))
        root = next(below, None)
        return None if root is None else self._pages[root]


def clean(path: str) -> str:
    """Return `path` without empty elements and dots; a final slash is kept."""
    # (`normpath` leaves two slashes at the beginning.)
    cleaned = "/" + normpath(path).lstrip("/")
    return f"{cleaned}/" if path.endswith("/") and cleaned != "/" else cleaned


def _routed(request: PageRequest) -> str:
    """Return the path by which a page is found: an encoded slash separates nothing."""
    raw = request.raw_path
    return _decoded(raw) if "%" in raw else request.path


def _decoded(raw: str) -> str:
    return unquote(_ENCODED_SLASH.sub("%252F", raw))


_ENCODED_SLASH = re.compile("%2[fF]")


def _is_clean(path: str) -> bool:
    return ("//" not in path and "/." not in path) or clean(path) == path


def page_request(
    method: str, target: str, headers: Mapping[str, str], body: RequestBody, caller: Caller
) -> PageRequest:
    """Return the request for `target`: path and query of the request line, or an absolute URL."""
    path, raw, query = parsed_target(target)
    if not target.startswith("/") and (host := _authority(target)):
        headers = {**headers, "host": host}
    return PageRequest(method, path, raw, query, headers, body, caller)


class _Turns:
    """Resumes requests in order, `AT_ONCE` in one turn of the loop: a client may pipeline thousands
    of requests, and pages that never wait would all be rendered in one turn.
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


def _authority(target: str) -> str:
    """Return host and port of an absolute URL; they replace `Host` (RFC 9112, 3.2.2)."""
    try:
        return urlsplit(target).netloc.rpartition("@")[2]
    except ValueError:
        return ""


#: A percent sign without two hexadecimal digits: no URL.
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
#: A path that stands for itself: as in Go's server, `#` begins no fragment.
_PLAIN = re.compile(r"[^%?]*")


def parsed_target(target: str) -> tuple[str, str, dict[str, list[str]]]:
    """Return the path, the path as sent, and the query; the path "/" if the target is no URL."""
    if target.startswith("/") and _PLAIN.fullmatch(target):
        return target, target, {}
    if not target.startswith("/"):
        try:
            parts = urlsplit(target)
        except ValueError:
            return "/", "/", {}
        target = f"{parts.path or '/'}?{parts.query}"
    raw, _, query = target.partition("?")
    raw = raw if raw.startswith("/") else f"/{raw}"
    if query.count("&") >= PARAMETERS:
        return unquote(raw), raw, {}
    return unquote(raw), raw, parse_qs(query, keep_blank_values=True)
