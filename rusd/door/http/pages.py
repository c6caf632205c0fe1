"""The pages a member shows beside gRPC: health, version and metrics, whatever HTTP they come by.

    HTTP/1.1 ── http_door.py ──┐
                               ├── Pages.serve(method, target) ── api/probes.py, metrics
    HTTP/2 ───── pagecall.py ──┘

Nothing here knows a socket or an HTTP library. Pages are read only: bodies of requests are nobody's
business here.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from rusd.base.logs import get_logger
from rusd.base.pending import Pending
from rusd.door.time_budget import TimeBudget
from rusd.observe.health import NOT_ALLOWED, NOT_FOUND, Probes, Reply

log = get_logger(__name__)

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_FAILED = Reply(500, "text/plain; charset=utf-8", "Internal Server Error\n")

#: Requests that go on in one turn of the loop.
AT_ONCE = 8

Query = dict[str, list[str]]
Probe = Callable[[str, list[str], bool], Awaitable[Reply]]


class Page(NamedTuple):
    """An answer, without `Content-Length`; to HEAD the headers are sent and the body is not."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Rendering:
    """A page that is rendered once for all that asked for it before: none gets one that is older
    than its request, and thousands of requests cost one rendering a turn."""

    def __init__(self, render: Callable[[], bytes], budget: TimeBudget) -> None:
        self._render = render
        self._budget = budget
        self._asked: Pending[bytes] | None = None
        #: As a worker of the budget.
        self.used = 0.0
        self.waiting = False

    def page(self) -> Awaitable[bytes]:
        """The page, as soon as the budget has time for it."""
        if self._asked is None:
            self._asked = Pending()
            self._budget.defer(self)
        return self._asked

    def work(self) -> bool:
        """See `rusd/door/time_budget.py`."""
        asked, self._asked = self._asked, None
        if asked is not None:
            try:
                asked.set_result(self._render())
            except Exception as error:  # noqa: BLE001
                # Passed on to the page that waits for it.
                asked.set_exception(error)
        return False


class Turns:
    """Requests in their order, `AT_ONCE` in one turn of the loop: a client may ask for thousands of
    pages at once, and those that wait for nothing would all be answered in one go."""

    def __init__(self) -> None:
        self._waiting: deque[Pending[None]] = deque()

    def mine(self) -> Awaitable[None]:
        """When it is the turn of one that asks now."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._next)
        turn: Pending[None] = Pending()
        self._waiting.append(turn)
        return turn

    def _next(self) -> None:
        for _ in range(min(AT_ONCE, len(self._waiting))):
            self._waiting.popleft().set_result(None)
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._next)


class Pages:
    """All pages of one member."""

    def __init__(
        self, probes: Probes, metrics: Callable[[], bytes], budget: TimeBudget | None = None
    ) -> None:
        """`metrics` renders the Prometheus text format, in the time of `budget`."""
        self._probes = probes
        self._turns = Turns()
        self._metrics = Rendering(metrics, budget or TimeBudget())

    async def serve(self, method: str, target: str) -> Page:
        """The page at `target` (path and query as in the request line, or an absolute URL).

        Never raises: a page that fails is status 500, and an error in the log.
        """
        await self._turns.mine()
        path, query = _parsed(target)
        try:
            return await self._serve(method, path, query)
        except Exception:
            log.exception("a page failed", extra={"fields": {"page": path}})
            return _page(_FAILED)

    async def _serve(self, method: str, path: str, query: Query) -> Page:
        if path == "/metrics":
            return Page(200, [("Content-Type", _METRICS_TYPE)], await self._metrics.page())
        answer = self._find(path, query)
        if answer is None:
            return _page(NOT_FOUND)
        if method != "GET":
            # Every page is read only, and HEAD is no GET, as in etcd.
            return _page(NOT_ALLOWED, ("Allow", "GET"))
        return _page(await answer())

    def _find(self, path: str, query: Query) -> Callable[[], Awaitable[Reply]] | None:
        """What answers a GET of `path`; None: there is no such page."""
        if path == "/health":
            return lambda: self._health(query)
        if path == "/version":
            return self._version
        _, first, *check = path.split("/")
        probe = {"livez": self._probes.live, "readyz": self._probes.ready}.get(first)
        if probe is None or len(check) > 1 or check == [""]:
            return None
        only = check[0] if check else ""
        return lambda: probe(only, query.get("exclude", []), "verbose" in query)

    async def _health(self, query: Query) -> Reply:
        serializable = query.get("serializable", [""])[0] == "true"
        return await self._probes.health(query.get("exclude", []), serializable)

    async def _version(self) -> Reply:
        return self._probes.version()


def _parsed(target: str) -> tuple[str, Query]:
    """Path, always with its first slash, and query; a target that is no URL is no page."""
    if not target.startswith("/"):
        try:
            parts = urlsplit(target)
        except ValueError:
            return "/", {}
        target = f"{parts.path or '/'}?{parts.query}"
    path, _, query = target.partition("#")[0].partition("?")
    path = unquote(path)
    return path if path.startswith("/") else f"/{path}", parse_qs(query, keep_blank_values=True)


def _page(reply: Reply, *headers: tuple[str, str]) -> Page:
    strict = [("X-Content-Type-Options", "nosniff")] if reply.strict else []
    every = [("Content-Type", reply.content_type), *strict, *headers]
    return Page(reply.status, every, reply.body.encode())
