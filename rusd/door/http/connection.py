"""One HTTP/1.1 connection: aiohttp's request handler with limits and etcd's error responses.

- Requests that arrive whole are served without aiohttp (`whole.py`) until the first that does not.
- A client that does not read its responses is disconnected after `STALLED` seconds without
  progress. The number of pipelined requests bounds what the kernel buffers meanwhile.
- A request that cannot be parsed gets the response of Go's server.
- Any method is read: another one stands in for those that aiohttp's parser does not know.
- Requests behind a declined `Upgrade` are served. aiohttp's parser stops at the end of such a
  request and drops the bytes fed with it, so it is fed one header section at a time.
"""

import asyncio
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Protocol, cast

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import _ErrInfo

from rusd.door import closings
from rusd.door.caller import caller_of
from rusd.door.http.body import BodyMemory
from rusd.door.http.websocket import FrameMasks
from rusd.door.http.whole import WholeRequests
from rusd.rpc.pages import BodyMalformed, BodyMemoryExceeded

#: Seconds for a client to read at least some of the bytes that wait for it.
STALLED = 60.0
#: Requests in a row that may arrive before the response to their predecessor; the connection is
#: closed after the last. Clients that wait for each response are not affected.
PIPELINED_AT_MOST = 100
#: Bytes of a header section (Go's DefaultMaxHeaderBytes) and fields of it; further ones are refused
#: with 431.
SECTION = 1 << 20
FIELDS = 10_000
#: Bytes of a section behind which the rest is parsed in parts of that size, since the parser copies
#: what it has of a field with each part, and is counted in the memory of bodies: twice its bytes,
#: and what a field takes.
SMALL = 16 << 10
FIELD_MEMORY = 400
#: Bytes of the trailers of a chunked body, and of the extensions of its chunks.
TRAILERS = 128 << 10
#: Bytes that wait for a client above which nothing is written (asyncio's own limit without TLS;
#: 512 KiB with TLS).
UNSENT = 64 << 10
#: Requests that are parsed before the response to their predecessor: each may hold a section.
PARSED = 4

_END = b"\r\n\r\n"
#: How requests begin whose method aiohttp's parser knows; any method; what stands in for it.
_KNOWN = tuple(
    f"{method} ".encode()
    for method in ("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT")
)
_METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_STAND_IN = b"PATCH"
#: Bytes of a method that may arrive in pieces.
_LONGEST = 4096
#: The reason of an end that the client caused.
_LEFT = "closed by the client"
#: A close frame with the status "protocol error".
_UNMASKED = b"\x88\x02\x03\xea"


class _Answered(ConnectionError):
    """An error response was sent; the connection takes no further request."""


class ConnectionOwner(Protocol):
    """Keeps the open connections."""

    def joined(self, connection: "HttpConnection", transport: asyncio.BaseTransport) -> None:
        """A connection was made."""

    def left(self, connection: "HttpConnection") -> None:
        """A connection was lost."""


class HttpConnection(web.RequestHandler):
    """Serves the requests of one connection in order."""

    __slots__ = (
        "_behind", "_counted", "_gathered", "_in_a_row", "_last", "_length", "_masks", "_memory",
        "_method", "_moved", "_owner", "_reason", "_refused", "_section", "_unfed", "_waiting",
        "_whole", "caller",
    )  # fmt: skip

    def __init__(
        self,
        owner: ConnectionOwner,
        server: web.Server,
        whole: Callable[["HttpConnection"], WholeRequests],
        memory: BodyMemory,
        **options: Any,
    ) -> None:
        """`whole` makes the server of the requests that arrive whole."""
        super().__init__(server, loop=asyncio.get_running_loop(), **options)
        self._owner = owner
        #: Why the connection ends; empty: not known.
        self._reason = ""
        #: None once aiohttp has the connection.
        self._whole: WholeRequests | None = whole(self)
        self._max_msg_queue_size, self._msg_queue_resume_size = PARSED, PARSED // 2
        self._in_a_row = 0
        #: Bytes received and not parsed, since enough requests wait; the last bytes parsed.
        self._unfed = b""
        self._last = b""
        #: Bytes of a long section that are not parsed yet; what is counted of the requests.
        self._gathered = bytearray()
        self._memory = memory
        self._counted = 0
        #: Bytes of a header section or of trailers that have not ended, whether they were refused,
        #: and the body that must end before the section.
        self._section = 0
        self._refused = False
        self._behind: StreamReader | None = None
        #: Its bytes to come, if announced: the next section begins behind them.
        self._length = 0
        #: The method of the section, if another stands in for it.
        self._method = ""
        #: Set once this is a WebSocket.
        self._masks: FrameMasks | None = None
        #: Bytes that wait for the client, and when they last became fewer.
        self._waiting = 0
        self._moved = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        cast(asyncio.Transport, transport).set_write_buffer_limits(UNSENT)
        self.caller = caller_of(transport)
        self._owner.joined(self, transport)

    def eof_received(self) -> None:
        self.closing(_LEFT)

    def closing(self, reason: str) -> None:
        """Note why the connection ends, for its line in the log: the first reason counts."""
        self._reason = self._reason or reason

    def _log_end(self, error: BaseException | None) -> None:
        if self._reason == _LEFT or (error is not None and not self._reason):
            closings.log_left(self.caller.address, error)
        else:
            closings.log_usual(self.caller.address, self._reason or "after its last response")

    async def shutdown(self, timeout: float | None = 15.0) -> None:
        """As aiohttp's: wait up to `timeout` seconds for the request under way, then close."""
        self.closing("server stopped")
        await super().shutdown(timeout)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._log_end(exc)
        self._unfed, self._behind = b"", None
        self._gathered.clear()
        self._uncount()
        if self._whole is not None:
            self._whole.lost()
        super().connection_lost(exc)
        self._owner.left(self)

    # For `whole.py`

    def begun(self) -> None:
        """A request is served without aiohttp: `shutdown` waits for it."""
        self._request_in_progress = True

    def ended(self) -> None:
        """The response was sent."""
        self._request_in_progress = False
        if self._handler_waiter is not None and not self._handler_waiter.done():
            self._handler_waiter.set_result(None)
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if self._close and self.transport is not None:
            self.transport.close()

    def hand_over(self, data: bytes) -> None:
        """Let aiohttp read from here on."""
        self._whole = None
        self.data_received(data)

    async def drain(self) -> None:
        """Wait until the client has taken some of what was written. Raises ConnectionError."""
        await self._drain_helper()

    @property
    def held(self) -> bool:
        """Whether much waits for the client."""
        return self._paused

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._whole is not None:
            self._whole.resume()

    def sweep(self) -> None:
        """See `WholeRequests.sweep`."""
        if self._whole is not None:
            self._whole.sweep()

    def _process_keepalive(self) -> None:
        if self._whole is not None and self._whole.busy:
            # (aiohttp is idle, the connection is not.)
            after, check = self._keepalive_timeout, self._process_keepalive
            self._keepalive_handle = self._loop.call_later(after, check)
        else:
            super()._process_keepalive()
            if self._force_close:
                self.closing("no request in time")

    # For aiohttp

    def watch_masks(self) -> bool:
        """See `SocketConnection`."""
        self._masks = FrameMasks()
        self._message_tail += self._unfed
        self._unfed = b""
        return self._masked(self._message_tail)

    def _masked(self, data: bytes) -> bool:
        if self._masks is None or self._masks.all_masked(data):
            return True
        self.closing("a WebSocket frame without a mask")
        if self.transport is not None:
            self.transport.write(_UNMASKED)
            self.transport.close()
        return False

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._whole is not None:
            if not (self._force_close or self._close):
                self._whole.feed(data)
            return
        if self._masks is not None:
            if self._masked(data):
                super().data_received(data)
            return
        if self._section > SMALL and not self._in_body():
            if not self._gather(data):
                return
            data = bytes(self._gathered)
            self._gathered.clear()
        last, data = self._last, self._last + self._unfed + data
        self._unfed = b""
        position = len(last)
        while len(self._messages) < self._max_msg_queue_size:
            # The end of a section may be split between two reads.
            end = data.find(_END, max(position - len(_END) + 1, 0)) + len(_END)
            if end < len(_END) or end > len(data):
                end = len(data)
            requests, behind = self._request_count, self._behind
            in_body = self._in_body()
            parsed = behind.total_bytes if behind is not None else 0
            if in_body and self._length:
                end = min(end, position + self._length)
                self._length -= end - position
            if not in_body and self._section + end - position > SECTION:
                self._refuse_section(LineTooLong(b"", SECTION), in_body=False)
                return
            section = data[position:end]
            if not in_body and self._section + len(section) > SMALL and not self._count(section):
                self._refuse_section(BodyMemoryExceeded(), in_body=False)
                return
            if not in_body and not self._section and not section.startswith(_KNOWN):
                method = _METHOD.match(section)
                if method is not None and method.end() == len(section) < _LONGEST:
                    break
                if method is not None and section.startswith(b" ", method.end()):
                    self._method = method[0].decode()
                    section = _STAND_IN + section[method.end() :]
            super().data_received(section)
            self._end_malformed()
            if self._request_count != requests:
                self._begin_body()
            elif behind is not None and (
                behind.total_bytes != parsed or (in_body and behind.is_eof())
            ):
                self._section = 0
            elif not self._reading_paused:
                # (Else it may be a body that the parser holds back.)
                self._section += end - position
                if in_body and self._section > TRAILERS:
                    self._refuse_section(LineTooLong(b"", TRAILERS), in_body=True)
                    return
            position = end
            if position >= len(data):
                break
        self._unfed = data[position:]
        self._last = data[max(position - len(_END) + 1, 0) : position]

    def _in_body(self) -> bool:
        return self._behind is not None and not self._behind.is_eof()

    def _gather(self, data: bytes) -> bool:
        """Add `data` to a long section; return whether it is to be parsed now."""
        gathered = self._gathered
        gathered += data
        if len(gathered) >= SMALL:
            return True
        tail = gathered[-len(data) - len(_END) + 1 :]
        return _END in (tail if len(tail) < len(gathered) else self._last + tail)

    def _count(self, section: bytes) -> bool:
        """Count a part of a long section; False if there is no room."""
        size = 2 * len(section) + FIELD_MEMORY * section.count(b"\n")
        try:
            self._memory.take(size)
        except BodyMemoryExceeded:
            return False
        self._counted += size
        return True

    def _uncount(self) -> None:
        self._memory.release(self._counted)
        self._counted = 0

    def served(self) -> None:
        """The response to a request was sent."""
        if not self._messages and (not self._section or self._in_body()):
            self._uncount()

    def _begin_body(self) -> None:
        """A header section has ended: its request is the last message."""
        message, self._behind = self._messages[-1]
        self._section = self._length = 0
        if isinstance(message, RawRequestMessage):
            self._length = int(message.headers.get("Content-Length", 0))
            if self._method:
                self._messages[-1] = message._replace(method=self._method), self._behind
        self._method = ""

    def _refuse_section(self, error: Exception, *, in_body: bool) -> None:
        """Refuse a header section, or the trailers of a body. Without a request under way, read on
        for a while, since closing the socket at once would take the response from a client that
        still writes.
        """
        transport = cast(asyncio.Transport, self.transport)
        self.closing("refused headers")
        self._refused = True
        if in_body or self._waiter is None or self._waiter.done():
            # Behind the responses to the requests before it.
            self._messages.append((_ErrInfo(_status(error), error, ""), EMPTY_PAYLOAD))
            self._end_malformed()
            return
        transport.write(_refusal(HTTPStatus(_status(error))))
        if not transport.can_write_eof():
            self.force_close()
            return
        transport.write_eof()
        self._loop.call_later(self._lingering_time, self.force_close)

    def _end_malformed(self) -> None:
        """End the last request's body if the following bytes cannot be parsed; aiohttp would leave
        its reader waiting.
        """
        if not self._messages or isinstance(self._messages[-1][0], RawRequestMessage):
            return
        if len(self._messages) > 1:
            payload = self._messages[-2][1]
        elif self._current_request is not None:
            payload = self._current_request.content
        else:
            return
        if not payload.is_eof() and payload.exception() is None:
            payload.set_exception(BodyMalformed())

    def another(self) -> bool:
        """Return whether the connection stays open after the current request."""
        self._in_a_row = self._in_a_row + 1 if self._messages else 0
        return self._in_a_row < PIPELINED_AT_MOST

    def stalled(self, unsent: int, now: float, *, late: bool) -> bool:
        """Return whether the client has read none of the `unsent` bytes for STALLED seconds.
        `late`: the loop stood still before, which begins them anew.
        """
        if late or unsent == 0 or unsent < self._waiting or self._waiting == 0:
            self._moved = now
        self._waiting = unsent
        return now - self._moved > STALLED

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Write etcd's plain-text error in place of aiohttp's page. Raises _Answered, which closes
        the connection.
        """
        self.closing("a request that cannot be read")
        if not isinstance(exc, _Answered) and self.transport is not None:
            text = ""
            if isinstance(exc, LineTooLong) or "Too many headers" in (message or ""):
                status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            elif "invalid `Transfer-Encoding`" in (message or ""):
                status, text = HTTPStatus.NOT_IMPLEMENTED, UNSUPPORTED
            self.transport.write(_refusal(HTTPStatus(status), text))
        raise _Answered


#: Go's text for a transfer encoding other than chunked.
UNSUPPORTED = "Unsupported transfer encoding"


def _status(error: Exception) -> HTTPStatus:
    if isinstance(error, BodyMemoryExceeded):
        return HTTPStatus.SERVICE_UNAVAILABLE
    return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE


def _refusal(status: HTTPStatus, text: str = "") -> bytes:
    """Return the response of Go's server to a request that it cannot read."""
    reason = f"{status.value} {status.phrase}"
    return (
        f"HTTP/1.1 {reason}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Connection: close\r\n\r\n{text or reason}".encode()
    )
