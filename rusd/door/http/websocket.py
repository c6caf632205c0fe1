"""WebSockets (RFC 6455): requests and responses of a page as messages, as in etcd's wsproxy.

The messages of the client, each followed by a line feed, are the body of a POST request; each line
of the response is a message. The WebSocket ends with the response, and the request ends with the
WebSocket. Browsers cannot set headers: a token is taken from the subprotocol "Bearer, <token>", or
from the cookie `token` if the page is of this origin (etcd: of any).

Frames are read and written by aiohttp, which bounds a message and pauses reading; it takes frames
without a mask, so those are looked for here.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from http.cookies import CookieError, SimpleCookie
from typing import Protocol, cast

from aiohttp import WSMsgType, web

from rusd.door.http.access import same_origin
from rusd.door.http.body import close
from rusd.rpc.pages import BodyTooLarge, PageRequest, PageResponse

#: Frames after which other work of the loop goes first.
FRAMES = 100
#: Bytes of a line from which it is sent in several frames.
FRAGMENT = 64 << 10
#: Seconds for a client to answer a close frame.
CLOSE_SECONDS = 2.0

_FORWARDED = ("host", "origin", "referer", "sec-fetch-site")
_BEARER = "Bearer"


class SocketConnection(Protocol):
    """The connection of a request that is upgraded to a WebSocket."""

    def watch_masks(self) -> bool:
        """Close the connection at a frame without a mask; False if there was one already."""

    def closing(self, reason: str) -> None:
        """Note why the connection ends."""

    async def drain(self) -> None:
        """Wait until the client has taken some of what was written. Raises ConnectionError."""


async def serve_socket(
    request: web.BaseRequest,
    asked: PageRequest,
    serve: Callable[[PageRequest], Awaitable[PageResponse]],
    limit: int,
) -> web.StreamResponse | None:
    """Serve `asked` over a WebSocket; None if `request` does not ask for one.

    `limit`: bytes of one message.
    """
    protocols = asked.headers.get("sec-websocket-protocol", "")
    socket = web.WebSocketResponse(
        timeout=CLOSE_SECONDS,
        autoping=False,
        compress=False,
        max_msg_size=limit,
        protocols=(_BEARER,) if protocols.startswith(_BEARER) else (),
    )
    if not socket.can_prepare(request).ok:
        return None
    connection = cast(SocketConnection, request.protocol)
    if not connection.watch_masks():
        return socket
    await socket.prepare(request)
    body = _MessageBody(socket, asyncio.current_task(), limit)
    response = await serve(replace(asked, method="POST", headers=_headers(asked), body=body))
    try:
        sender = _Sender(socket, connection, request.transport)
        if isinstance(response.body, bytes):
            await sender.send(response.body)
        else:
            async for chunk in response.body:
                await sender.send(chunk)
        await sender.end_line()
    except ConnectionError:
        pass  # the client has gone
    except asyncio.CancelledError:
        if not socket.closed and request.transport is not None:
            connection.closing("a response that was given up")
            request.transport.abort()
        raise
    finally:
        if not isinstance(response.body, bytes):
            await close(response.body)
    await socket.close()
    return socket


class _Sender:
    """Sends lines as messages: a short one in one frame, a long one in several (RFC 6455, 5.4),
    since it is longer than what should wait for a client that does not read.
    """

    def __init__(
        self,
        socket: web.WebSocketResponse,
        connection: SocketConnection,
        transport: asyncio.WriteTransport | None,
    ) -> None:
        self._socket = socket
        self._connection = connection
        self._transport = transport
        #: What came of the line, and whether a part of it was sent.
        self._parts: list[bytes] = []
        self._size = 0
        self._begun = False

    async def send(self, chunk: bytes) -> None:
        """Send the lines that end in `chunk`, and what is long of the next one."""
        first, *others = chunk.split(b"\n")
        self._add(first)
        for other in others:
            await self.end_line()
            self._add(other)
        if self._size >= FRAGMENT:
            await self._fragment(last=False)

    async def end_line(self) -> None:
        """Send the rest of a line, unless it is empty."""
        if self._begun:
            await self._fragment(last=True)
        elif self._size:
            await self._socket.send_frame(self._taken(), WSMsgType.TEXT)

    def _add(self, part: bytes) -> None:
        if part:
            self._parts.append(part)
            self._size += len(part)

    def _taken(self) -> bytes:
        line = b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        return line

    async def _fragment(self, *, last: bool) -> None:
        # (aiohttp sends whole messages only.)
        if self._socket.closed or self._transport is None or self._transport.is_closing():
            raise ConnectionResetError
        payload = self._taken()
        opcode = WSMsgType.CONTINUATION if self._begun else WSMsgType.TEXT
        self._begun = not last
        self._transport.write(_head(opcode, len(payload), last=last) + payload)
        await self._connection.drain()


def _head(opcode: int, size: int, *, last: bool) -> bytes:
    first = opcode | 0x80 if last else opcode
    if size < 126:
        return bytes((first, size))
    if size < 1 << 16:
        return bytes((first, 126)) + size.to_bytes(2, "big")
    return bytes((first, 127)) + size.to_bytes(8, "big")


def _headers(asked: PageRequest) -> dict[str, str]:
    given = asked.headers
    found = {name: given[name] for name in _FORWARDED if name in given}
    _, bearer, token = given.get("sec-websocket-protocol", "").partition(f"{_BEARER},")
    if bearer:
        found["authorization"] = f"{_BEARER} {token.strip()}"
    if "cookie" in given and same_origin(given, secure=asked.caller.secure):
        try:
            cookie = SimpleCookie(given["cookie"]).get("token")
        except CookieError:
            cookie = None
        if cookie is not None:
            found["authorization"] = f"{_BEARER} {cookie.value}"
    return found


class _MessageBody:
    """A `RequestBody` of messages; its end cancels the page."""

    def __init__(
        self, socket: web.WebSocketResponse, page: asyncio.Task[None] | None, limit: int
    ) -> None:
        self._socket = socket
        self._page = page
        self._limit = limit

    async def read(self) -> bytes:
        parts: list[bytes] = []
        size = 0
        async for chunk in self.chunks():
            size += len(chunk)
            if size > self._limit:
                raise BodyTooLarge
            parts.append(chunk)
        return b"".join(parts)

    async def chunks(self) -> AsyncIterator[bytes]:
        socket = self._socket
        for count in itertools.count(1):
            message = await socket.receive()
            if not count % FRAMES:
                # What has arrived is received without a turn of the loop, and may hold no request.
                await asyncio.sleep(0)
            if message.type is WSMsgType.TEXT:
                yield message.data.encode() + b"\n"
            elif message.type is WSMsgType.BINARY:
                yield message.data + b"\n"
            elif message.type in (WSMsgType.PING, WSMsgType.PONG):
                if message.type is WSMsgType.PING:
                    await socket.pong(message.data)
            else:
                break
        if self._page is not None:
            self._page.cancel()


class FrameMasks:
    """Parses frame heads in arriving bytes, and tells whether all frames are masked."""

    def __init__(self) -> None:
        self._head = bytearray()
        #: Bytes of the current frame that follow its head.
        self._rest = 0

    def all_masked(self, data: bytes) -> bool:
        """Return whether the frames that begin in `data` are masked."""
        at, end = 0, len(data)
        while at < end:
            if self._rest:
                step = min(self._rest, end - at)
                self._rest -= step
                at += step
                continue
            self._head.append(data[at])
            at += 1
            if len(self._head) < 2:
                continue
            if not self._head[1] & 0x80:
                return False
            self._look()
        return True

    def _look(self) -> None:
        """Begin the payload if the head is complete."""
        head = self._head
        length = head[1] & 0x7F
        size = {126: 2, 127: 8}.get(length, 0)
        if len(head) < 2 + size:
            return
        # (The mask counts as payload.)
        self._rest = 4 + (int.from_bytes(head[2 : 2 + size], "big") if size else length)
        head.clear()
