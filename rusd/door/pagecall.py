"""A request over HTTP/2 that is not gRPC, such as curl's for https://…/health: a page."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from rusd.door.h2 import Stream, block
from rusd.logs import get_logger

if TYPE_CHECKING:
    from rusd.door.pages import Page

log = get_logger(__name__)

#: Serves a page: (method, path and query).
Serve = Callable[[str, str], Awaitable["Page"]]


class PageCall:
    """One request; the receiver of its stream. Bodies are ignored: pages are only read."""

    __slots__ = ("_page", "_serve", "_stream", "_task")

    def __init__(self, stream: Stream, serve: Serve, page: tuple[str, str]) -> None:
        self._stream = stream
        self._serve = serve
        self._page = page
        self._task: asyncio.Task[Any] | None = None

    async def _answer(self, method: str, target: str) -> None:
        try:
            page = await self._serve(method, target)
        except Exception:
            log.exception("a page failed", extra={"fields": {"page": target}})
            self._stream.end(block([(":status", "500")]))
            return
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
            self._task = asyncio.ensure_future(self._answer(*self._page))

    def aborted(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def drained(self) -> None:
        """One body has no more to come."""
