"""One HTTP/1.1 connection: aiohttp's, with limits of its own and no trace of the library.

- A client that asks and does not read is let go after `STALLED` seconds without progress; what the
  kernel takes meanwhile is bounded by the number of requests that may follow one another unread.
- A request that cannot be parsed is answered as Go's server answers it.
- Requests behind a declined `Upgrade` are served: the parser stops at the end of such a request
  and drops what was fed with it, so it is fed one header section at a time.
"""

import asyncio
from http import HTTPStatus
from typing import Any, Protocol

from aiohttp import web

from rusd.door.caller import caller_of

#: Seconds for a client to take at least some of what waits for it.
STALLED = 60.0
#: Requests in a row that may arrive before the answer to the one in front of them is made; the
#: connection is closed then. Clients that wait for their answers are never counted.
PIPELINED_AT_MOST = 100

_END = b"\r\n\r\n"


class _Answered(ConnectionError):
    """An error response was written; nothing more is to be said on this connection."""


class Connections(Protocol):
    """The open connections of a door (`server.HttpDoor`)."""

    def joined(self, connection: "HttpConnection", transport: asyncio.BaseTransport) -> None:
        """A connection has begun."""

    def left(self, connection: "HttpConnection") -> None:
        """A connection is gone."""


class HttpConnection(web.RequestHandler):
    """Serves the requests of one connection in order."""

    __slots__ = ("_door", "_in_a_row", "_last", "_moved", "_unfed", "_waiting", "caller")

    def __init__(self, door: Connections, server: web.Server, **options: Any) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), **options)
        self._door = door
        self._in_a_row = 0
        #: What was read and not parsed, since enough requests wait; the last bytes that were.
        self._unfed = b""
        self._last = b""
        #: Bytes that wait for the client, and when that was less.
        self._waiting = 0
        self._moved = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.caller = caller_of(transport)
        self._door.joined(self, transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._unfed = b""
        super().connection_lost(exc)
        self._door.left(self)

    def data_received(self, data: bytes) -> None:
        last, data = self._last, self._last + self._unfed + data
        self._unfed = b""
        position = len(last)
        while len(self._messages) < self._max_msg_queue_size:
            # (The end of a section may be split between two reads.)
            end = data.find(_END, max(position - len(_END) + 1, 0)) + len(_END)
            if end < len(_END) or end > len(data):
                end = len(data)
            super().data_received(data[position:end])
            position = end
            if position >= len(data):
                break
        self._unfed = data[position:]
        self._last = data[max(position - len(_END) + 1, 0) : position]

    def another(self) -> bool:
        """Whether the connection goes on after the request at hand."""
        self._in_a_row = self._in_a_row + 1 if self._messages else 0
        return self._in_a_row < PIPELINED_AT_MOST

    def stalled(self, unsent: int, now: float) -> bool:
        """Whether the client has taken none of the `unsent` bytes for too long."""
        if unsent == 0 or unsent < self._waiting or self._waiting == 0:
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
        if not isinstance(exc, _Answered) and self.transport is not None:
            reason = f"{status} {HTTPStatus(status).phrase}"
            self.transport.write(
                f"HTTP/1.1 {reason}\r\nContent-Type: text/plain; charset=utf-8\r\n"
                f"Connection: close\r\n\r\n{reason}".encode()
            )
        raise _Answered
