"""Requests over HTTP/2 that are not gRPC, such as a browser's: each is answered by a page.

A page runs in a task of its own. One connection runs `AT_ONCE` pages at a time until their
responses begin, and none while much waits unread for its client. A streamed response is taken from
its page a chunk at a time, when the stream's queue has room for it.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import NamedTuple, Protocol

from rusd.base.logs import get_logger
from rusd.base.pending import Pending
from rusd.door.h2 import Stream, block
from rusd.door.h2.errors import INTERNAL_ERROR
from rusd.door.http.body import Body, BodyMemory, close
from rusd.door.http.router import page_request
from rusd.rpc.call import Caller
from rusd.rpc.pages import PageRequest, PageResponse

log = get_logger(__name__)

#: Pages that run at a time for one connection. Some wait for others, such as a lock for the unlock.
AT_ONCE = 10

#: Seconds for which the response to a request that has not ended waits for its end. Behind the
#: response nothing of the request counts any more, so that its faults would not be told.
END_SECONDS = 0.2

#: Serves a page; raises nothing.
Serve = Callable[[PageRequest], Awaitable[PageResponse]]


class PageHeaders(NamedTuple):
    """Decoded header block of a request for a page."""

    method: str
    #: Path and query.
    target: str
    fields: Mapping[str, str]
    content_length: int | None


class PageConnection(Protocol):
    """The part of a connection that a page uses."""

    caller: Caller

    @property
    def pages(self) -> "PageQueue":
        """The running and waiting pages of the connection."""

    def do(self, task: Callable[[], object]) -> None:
        """Run `task` after the running callback, within the connection's time budget."""

    def wait_writable(self) -> Pending[None] | None:
        """Return None if a long response may be queued, else a pending that resolves when it
        may.
        """


class _StreamBody(Body):
    """A body whose chunks are the DATA frames of a stream."""

    def __init__(self, stream: Stream, announced: int | None, memory: BodyMemory) -> None:
        super().__init__(announced, memory)
        self._stream = stream
        self._arrived: deque[bytes] = deque()
        self._ended = False
        self._wanted: Pending[None] | None = None

    def feed(self, chunk: bytes, ended: bool) -> None:
        self._ended = ended
        if chunk:
            self._stream.keep(len(chunk))
            self._arrived.append(chunk)
        wanted, self._wanted = self._wanted, None
        if wanted is not None:
            wanted.set_result(None)

    async def chunks(self) -> AsyncIterator[bytes]:
        while True:
            while self._arrived:
                chunk = self._arrived.popleft()
                self._stream.consumed(len(chunk))
                yield chunk
            if self._ended:
                return
            self._wanted = Pending()
            await self._wanted

    async def drop(self, seconds: float) -> None:
        """Drop what arrives until the body has ended, for so many seconds at most."""
        if self._ended:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                async for _ in self.chunks():
                    pass


class PageCall:
    """One request; the `Receiver` of its stream."""

    __slots__ = (
        "_answered", "_body", "_connection", "_headers", "_sent", "_serve", "_stream", "_task",
        "_writable",
    )  # fmt: skip

    def __init__(
        self,
        connection: PageConnection,
        stream: Stream,
        serve: Serve,
        headers: PageHeaders,
        memory: BodyMemory,
    ) -> None:
        self._connection = connection
        self._stream = stream
        self._serve = serve
        self._headers = headers
        self._body = _StreamBody(stream, headers.content_length, memory)
        self._task: asyncio.Task[None] | None = None
        self._writable: Pending[None] | None = None
        #: Resolves when the stream has room after the chunk that was sent last.
        self._sent: Pending[None] | None = None
        self._answered = False
        connection.pages.add(self)

    def start(self) -> None:
        """Run the page and send its response."""
        self._writable = self._connection.wait_writable()
        self._task = asyncio.ensure_future(self._answer())
        # (Also of a task that is cancelled before it begins.)
        self._task.add_done_callback(lambda _: self._begun())

    async def _answer(self) -> None:
        method, target, fields, _ = self._headers
        try:
            if self._writable is not None:
                await self._writable
            response = await self._serve(
                page_request(method, target, fields, self._body, self._connection.caller)
            )
            if isinstance(response.body, bytes):
                await self._body.drop(END_SECONDS)
                self._connection.do(partial(self._send, response, response.body))
            else:
                await self._stream_body(response, response.body)
        except asyncio.CancelledError:
            if self._task is not None:  # by the page: the stream is open still
                self._connection.do(partial(self._stream.reset, INTERNAL_ERROR))
            raise
        except Exception:
            log.exception("a page failed", extra={"fields": {"page": target}})
            self._connection.do(partial(self._stream.reset, INTERNAL_ERROR))
        finally:
            self._answered = True
            self._body.release()
            # What was not read is dropped; the client's window is given back with it.
            self._stream.consumed(self._stream.kept)

    def _send(self, response: PageResponse, body: bytes) -> None:
        # (The length of a 304 would be that of the response it stands for.)
        length = () if response.status == 304 else (("content-length", str(len(body))),)
        head = _head(response, *length)
        if body and self._headers.method != "HEAD":
            self._stream.head(head)
            self._stream.send(body)
            self._stream.end(b"")
        else:
            self._stream.end(head)

    async def _stream_body(self, response: PageResponse, chunks: AsyncIterator[bytes]) -> None:
        do, stream = self._connection.do, self._stream
        try:
            if self._headers.method == "HEAD":
                do(partial(stream.end, _head(response)))
                return
            do(partial(stream.head, _head(response)))
            self._begun()
            async for chunk in chunks:
                if chunk:
                    await self._send_chunk(chunk)
            do(partial(stream.end, b""))
        finally:
            await close(chunks)

    async def _send_chunk(self, chunk: bytes) -> None:
        self._writable = self._connection.wait_writable()
        if self._writable is not None:
            await self._writable
        self._sent = Pending()
        self._connection.do(partial(self._queue_chunk, chunk))
        await self._sent

    def _queue_chunk(self, chunk: bytes) -> None:
        self._stream.send(chunk)
        if not self._stream.full:
            self.drained()

    def _begun(self) -> None:
        self._connection.pages.begun(self)

    # Receiver

    def data(self, chunk: bytes, ended: bool) -> None:
        if self._answered:
            self._stream.consumed(len(chunk))
        else:
            self._body.feed(chunk, ended)

    def drained(self) -> None:
        sent, self._sent = self._sent, None
        if sent is not None:
            sent.set_result(None)

    def aborted(self) -> None:
        self._connection.pages.drop(self)
        # (It will hold its exception, whose frames hold this object: a cycle.)
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        if self._writable is not None:
            self._writable.cancel()


class PageQueue:
    """The page requests of one connection, in order."""

    __slots__ = ("_do", "_running", "_waiting")

    def __init__(self, do: Callable[[Callable[[], object]], None]) -> None:
        """`do` runs a callback within the connection's time budget."""
        self._do = do
        self._waiting: OrderedDict[PageCall, None] = OrderedDict()
        #: Pages whose responses have not begun.
        self._running: set[PageCall] = set()

    def add(self, call: PageCall) -> None:
        """Queue a request."""
        self._waiting[call] = None
        self._start_next()

    def drop(self, call: PageCall) -> None:
        """Remove a cancelled request."""
        self._waiting.pop(call, None)

    def begun(self, call: PageCall) -> None:
        """Start the next request: a page's response has begun, or its task has ended."""
        if call in self._running:
            self._running.remove(call)
            if self._waiting:
                self._do(self._start_next)

    def _start_next(self) -> None:
        while self._waiting and len(self._running) < AT_ONCE:
            call, _ = self._waiting.popitem(last=False)
            self._running.add(call)
            call.start()


def _head(response: PageResponse, *fields: tuple[str, str]) -> bytes:
    named = [(name.lower(), value) for name, value in response.headers]
    return block([(":status", str(response.status)), *named, *fields])
