"""HTTP/1.1 requests that arrive whole, read and answered without aiohttp: nearly all requests.

    bytes ── WholeRequests ──┬── Pages.begin ── response, without a task
                             ├── Pages.serve ── response, in a task
                             └── the rest of the connection is aiohttp's (`connection.py`)

A head is read here if it is plain: any method but HEAD and CONNECT, HTTP/1.1 or later, ASCII, each
field once, a body announced by its length or none, no upgrade. Any other head, a body of more than
`BODY` bytes, and a request sent behind another one before its response, leave the connection to
aiohttp for good, from the first byte of that request on. A client sends the same head again and
again: the last one is kept as read.

One request is served at a time, within the door's time budget, and none once the connection closes.
What has arrived of a body is counted in the memory of bodies; a body that has not ended at the
second `sweep` is aiohttp's.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple, Protocol

from rusd.base.logs import get_logger
from rusd.door.http.body import BodyMemory, close
from rusd.door.http.router import parsed_target
from rusd.door.time_budget import TimeBudget
from rusd.rpc.call import Caller
from rusd.rpc.pages import (
    BodyMemoryExceeded,
    PageRequest,
    PageResponse,
    Respond,
    nothing_to_cancel,
)

log = get_logger(__name__)

#: Bytes of a head, and of a body, that are read here.
HEAD = 8 << 10
BODY = 64 << 10
#: Bytes that are kept while a request is served; the socket is not read beyond them.
BEHIND = 16 << 10

#: The characters that Go's server allows in `Host`.
HOST = re.compile(r"[-A-Za-z0-9._~!$&'()*+,;=:@%\[\]]*")

_CLOSE = b"Connection: close\r\n"
_END = b"\r\n\r\n"
_HEAD = re.compile(
    rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) (/[!-~]*) HTTP/1\.[1-9]\r\n"
    rb"((?:[-0-9A-Za-z]+:[ -~]*\r\n)+)\r\n"
)
_LENGTH = re.compile("[0-9]{1,6}")
#: Fields that ask for more than a response.
_OTHERS = frozenset(("expect", "transfer-encoding", "trailer", "upgrade"))


class Head(NamedTuple):
    """A head that was read."""

    raw: bytes
    method: str
    #: Path, path as sent, query.
    target: tuple[str, str, Mapping[str, list[str]]]
    fields: Mapping[str, str]
    #: Bytes of head and body.
    size: int
    #: Whether the client wants no further response on the connection.
    last: bool


def plain_head(raw: bytes) -> Head | None:
    """Return the head `raw`, up to its empty line; None if it is left to aiohttp."""
    found = _HEAD.fullmatch(raw) if len(raw) <= HEAD else None
    if found is None or found[1] in (b"HEAD", b"CONNECT"):
        return None
    fields: dict[str, str] = {}
    for line in found[3].decode().split("\r\n")[:-1]:
        name, _, value = line.partition(":")
        name = name.lower()
        if name in fields or name in _OTHERS:
            return None
        fields[name] = value.strip(" ")
    host, length = fields.get("host"), fields.get("content-length", "0")
    if host is None or HOST.fullmatch(host) is None or _LENGTH.fullmatch(length) is None:
        return None
    wish = fields.get("connection", "keep-alive").lower()
    if wish not in ("keep-alive", "close") or int(length) > BODY:
        return None
    target = parsed_target(found[2].decode())
    return Head(raw, found[1].decode(), target, fields, len(raw) + int(length), wish == "close")


class DirectPages(Protocol):
    """Handler of requests, with or without a task."""

    async def serve(self, request: PageRequest) -> PageResponse:
        """Return the response. Never raises."""

    def begin(
        self, request: PageRequest, body: bytes, respond: Respond
    ) -> Callable[[], None] | None:
        """See `DirectPage`. Never raises."""


class WholeConnection(Protocol):
    """The connection of the requests."""

    caller: Caller
    transport: asyncio.Transport | None

    def begun(self) -> None:
        """A request is served."""

    def ended(self) -> None:
        """Its response was sent, or dropped."""

    def closing(self, reason: str) -> None:
        """Note why the connection ends."""

    def hand_over(self, data: bytes) -> None:
        """Leave the connection to aiohttp, whose first bytes are `data`."""

    async def drain(self) -> None:
        """Wait until the client has taken some of what was written. Raises ConnectionError."""

    @property
    def held(self) -> bool:
        """Whether much waits for the client."""


class WholeRequests:
    """The requests of one connection: a `Worker` of the time budget."""

    def __init__(
        self,
        connection: WholeConnection,
        pages: DirectPages,
        budget: TimeBudget,
        memory: BodyMemory,
    ) -> None:
        self._connection: WholeConnection | None = connection
        self._pages = pages
        self._budget = budget
        self._memory = memory
        #: As a worker.
        self.used = budget.enter()
        self.waiting = False
        #: Bytes that arrived of the next request.
        self._arrived = b""
        self._head: Head | None = None
        #: Bytes counted of its body, whether more are missing, and whether a sweep has seen that.
        self._counted = 0
        self._incomplete = False
        self._swept = False
        self._paused = False
        self.busy = False
        #: Whether the connection ends with the response.
        self._last = False
        #: What cancels the request.
        self._cancel: Callable[[], object] | None = None
        self._task: asyncio.Task[None] | None = None
        #: Work on the response; whether the page begins now.
        self._finish: Callable[[], None] | None = None
        self._beginning = False

    def feed(self, data: bytes) -> None:
        """Take bytes from the client."""
        self._arrived = self._arrived + data if self._arrived else data
        if not self.busy:
            self._budget.run(self)
        if len(self._arrived) > BEHIND:
            connection = self._connection
            self._pause(self.busy or self.waiting or (connection is not None and connection.held))

    def resume(self) -> None:
        """Go on: the client reads again."""
        if self._arrived:
            self._budget.run(self)

    def _pause(self, paused: bool) -> None:
        connection = self._connection
        if paused == self._paused or connection is None or connection.transport is None:
            return
        self._paused = paused
        if paused:
            connection.transport.pause_reading()
        else:
            connection.transport.resume_reading()

    def work(self) -> bool:
        """See `Worker` (`rusd/door/ports.py`): work on the response, or begin the next request."""
        finish, self._finish = self._finish, None
        if finish is not None:
            finish()
            return False
        connection, arrived = self._connection, self._arrived
        if self.busy or not arrived or connection is None or connection.held:
            return False
        if connection.transport is None or connection.transport.is_closing():
            # (Nobody would learn what the request did.)
            return False
        self._pause(False)
        head = self._head
        if head is None or not arrived.startswith(head.raw):
            end = arrived.find(_END) + len(_END)
            if end < len(_END) and len(arrived) < HEAD:
                return False
            self._head = head = plain_head(arrived[:end])
        missing = -1 if head is None else head.size - len(arrived)
        if head is None or missing < 0 or not self._count(len(arrived) - len(head.raw)):
            self._hand_over()
        elif missing:
            self._incomplete = True
        else:
            self._arrived = b""
            self._begin(connection, head, arrived[len(head.raw) :])
        return False

    def _count(self, size: int) -> bool:
        """Count `size` bytes of the body; False if there is no room, which aiohttp's side tells."""
        if size != self._counted:
            try:
                self._memory.take(size - self._counted)
            except BodyMemoryExceeded:
                return False
            self._counted = size
        return True

    def _uncount(self) -> None:
        if self._counted:
            self._memory.release(self._counted)
            self._counted = 0
        self._incomplete = self._swept = False

    def sweep(self) -> None:
        """Leave a body to aiohttp that arrives slowly."""
        if self._swept:
            self._hand_over()
        self._swept = self._incomplete

    def _hand_over(self) -> None:
        connection, arrived = self._connection, self._arrived
        self._pause(False)
        self.lost()
        if connection is not None:
            connection.hand_over(arrived)

    def lost(self) -> None:
        """The connection has ended, or is aiohttp's."""
        self._connection = self._finish = None
        self._arrived = b""
        self._uncount()
        cancel, self._cancel = self._cancel, None
        if cancel is not None:
            cancel()

    # Responses

    def _begin(self, connection: WholeConnection, head: Head, body: bytes) -> None:
        self._incomplete = self._swept = False
        self.busy, self._last = True, head.last
        connection.begun()
        request = PageRequest(
            head.method, *head.target, head.fields, _Whole(body), connection.caller, self._later
        )
        self._beginning = True
        cancel = self._pages.begin(request, body, self._respond)
        self._beginning = False
        if cancel is None:
            self._cancel = self._in_task(self._serve(request)).cancel
        elif self.busy and self._cancel is None and cancel is not nothing_to_cancel:
            self._cancel = cancel

    def _later(self, work: Callable[[], None]) -> None:
        """See `Later`."""
        if self._beginning:
            work()
            return
        self._finish = work
        if self._budget.at_work:
            self._budget.defer(self)
        else:
            self._budget.run(self)

    def _in_task(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        self._task = asyncio.create_task(work)
        self._task.add_done_callback(_retrieve)
        return self._task

    async def _serve(self, request: PageRequest) -> None:
        try:
            response = await self._pages.serve(request)
        except BaseException as error:
            # (A page cancels itself, or is faulty: the client must learn it.)
            if not isinstance(error, asyncio.CancelledError):
                log.exception("a page failed", extra={"fields": {"page": request.path}})
            self._abort()
            raise
        if isinstance(response.body, bytes):
            self._respond(response)
        else:
            await self._stream(response, response.body, request.path)

    def _respond(self, response: PageResponse) -> None:
        body = response.body
        if not isinstance(body, bytes):
            # (Cancelled no sooner than it has begun: it closes the body.)
            self._cancel = nothing_to_cancel
            self._in_task(self._stream(response, body, ""))
            return
        connection = self._connection
        if connection is not None and connection.transport is not None:
            head = _response_head(response.status, tuple(response.headers))
            # (The length of a 304 would be that of the response it stands for.)
            length = b"" if response.status == 304 else b"Content-Length: %d\r\n" % len(body)
            connection.transport.write(
                b"%b%bDate: %b\r\n%b\r\n%b"
                % (head, length, _date(), _CLOSE if self._last else b"", body)
            )
        self._ended()

    async def _stream(
        self, response: PageResponse, chunks: AsyncIterator[bytes], path: str
    ) -> None:
        """Send the chunks at the client's pace."""
        if self._connection is None:
            await close(chunks)
            return
        task = asyncio.current_task()
        assert task is not None
        self._cancel = task.cancel
        head = _response_head(response.status, tuple(response.headers))
        last = _CLOSE if self._last else b""
        head += b"Transfer-Encoding: chunked\r\nDate: %b\r\n%b\r\n" % (_date(), last)
        try:
            async for chunk in chunks:
                if chunk:
                    await self._write(b"%b%x\r\n%b\r\n" % (head, len(chunk), chunk))
                    head = b""
            await self._write(head + b"0\r\n\r\n")
        except ConnectionError:
            pass  # the client has gone
        except asyncio.CancelledError:
            # (What waits for the client in the transport is dropped too.)
            self._abort()
            raise
        except Exception:
            log.exception("a page failed", extra={"fields": {"page": path}})
            # Without its last chunk the response is seen to be incomplete.
            connection = self._connection
            if connection is not None and connection.transport is not None:
                connection.closing("a page failed")
                connection.transport.close()
        finally:
            await close(chunks)
            self._ended()

    async def _write(self, data: bytes) -> None:
        connection = self._connection
        if connection is None or connection.transport is None:
            raise ConnectionResetError
        connection.transport.write(data)
        if connection.held:
            await connection.drain()

    def _abort(self) -> None:
        connection = self._connection
        if connection is not None and connection.transport is not None:
            connection.closing("a response that was given up")
            connection.transport.abort()

    def _ended(self) -> None:
        self.busy = False
        self._cancel = self._task = None
        self._uncount()
        connection = self._connection
        if connection is not None:
            connection.ended()
            if self._last and connection.transport is not None:
                connection.transport.close()
            elif self._arrived:
                self._budget.defer(self)


class _Whole:
    """A `RequestBody` that has arrived."""

    __slots__ = ("_body",)

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def read(self) -> bytes:
        return self._body

    async def chunks(self) -> AsyncIterator[bytes]:
        if self._body:
            yield self._body


def _retrieve(task: "asyncio.Task[None]") -> None:
    """Take what a cancelled task leaves."""
    if not task.cancelled():
        task.exception()


@lru_cache(maxsize=256)
def _response_head(status: int, headers: Sequence[tuple[str, str]]) -> bytes:
    """Return status line and fields of a response."""
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = ""
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"HTTP/1.1 {status} {reason}\r\n{fields}".encode()


def _date() -> bytes:
    return _date_of(int(time.time()))


@lru_cache(maxsize=1)
def _date_of(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()
