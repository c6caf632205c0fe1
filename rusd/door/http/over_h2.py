"""A request over HTTP/2 that is not gRPC, such as curl's for https://…/health: a page.

A page may wait (for a read, for others that want the same), so each has a task while it is made;
few at a time for one connection, and none while much waits unread for its client.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from rusd.base.logs import get_logger
from rusd.base.pending import Pending
from rusd.door.h2 import Stream, block

if TYPE_CHECKING:
    from rusd.door.http.pages import Page

log = get_logger(__name__)

#: Pages that are made at a time for one connection.
AT_ONCE = 4

#: Serves a page: (method, path and query).
Serve = Callable[[str, str], Awaitable["Page"]]


class PageConnection(Protocol):
    """The connection of a page, as the page uses it."""

    @property
    def pages(self) -> "PageQueue": ...

    def do(self, task: Callable[[], object]) -> None:
        """Run `task` after what runs now, in the time of the connection."""

    def wait_writable(self) -> Pending[None] | None:
        """None if a long answer may be made now, else what to wait for."""


class PageCall:
    """One request; the receiver of its stream. Bodies are ignored: pages are only read."""

    __slots__ = ("_connection", "_page", "_room", "_serve", "_stream", "_task")

    def __init__(
        self, connection: "PageConnection", stream: Stream, serve: Serve, page: tuple[str, str]
    ) -> None:
        self._connection = connection
        self._stream = stream
        self._serve = serve
        self._page = page
        self._task: asyncio.Task[None] | None = None
        self._room: Pending[None] | None = None

    def start(self) -> asyncio.Task[None]:
        """Make the page and send it."""
        self._room = self._connection.wait_writable()
        self._task = asyncio.ensure_future(self._answer(*self._page))
        return self._task

    async def _answer(self, method: str, target: str) -> None:
        if self._room is not None:
            await self._room
        try:
            page = await self._serve(method, target)
        except Exception:
            log.exception("a page failed", extra={"fields": {"page": target}})
            self._stream.end(block([(":status", "500")]))
            return
        self._connection.do(partial(self._send, method, page))

    def _send(self, method: str, page: "Page") -> None:
        fields = [(name.lower(), value) for name, value in page.headers]
        body = b"" if method == "HEAD" else page.body
        fields.append(("content-length", str(len(page.body))))
        head = block([(":status", str(page.status)), *fields])
        if body:
            self._stream.head(head)
            self._stream.send(body)
            self._stream.end(b"")
        else:
            self._stream.end(head)

    def data(self, chunk: bytes, ended: bool) -> None:
        self._stream.consumed(len(chunk))
        if ended:
            self._connection.pages.add(self)

    def aborted(self) -> None:
        self._connection.pages.drop(self)
        if self._task is not None:
            self._task.cancel()
        if self._room is not None:
            self._room.cancel()

    def drained(self) -> None:
        """One body has no more to come."""


class PageQueue:
    """The requests for pages of one connection, in their order."""

    __slots__ = ("_do", "_running", "_waiting")

    def __init__(self, do: Callable[[Callable[[], object]], None]) -> None:
        """`do` does something in the connection's time."""
        self._do = do
        self._waiting: OrderedDict[PageCall, None] = OrderedDict()
        self._running = 0

    def add(self, call: PageCall) -> None:
        """Its request is complete."""
        self._waiting[call] = None
        self._next()

    def drop(self, call: PageCall) -> None:
        """Nobody waits for its page any more."""
        self._waiting.pop(call, None)

    def _next(self) -> None:
        while self._waiting and self._running < AT_ONCE:
            call, _ = self._waiting.popitem(last=False)
            self._running += 1
            call.start().add_done_callback(self._made)

    def _made(self, task: asyncio.Task[Any]) -> None:
        self._running -= 1
        if self._waiting:
            self._do(self._next)
