"""Requests over HTTP/1.1 for the pages, by aiohttp.

aiohttp takes long to load, so `server.py` loads this module in a thread.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any, Protocol, cast

from aiohttp import web

from rusd.base.logs import get_logger
from rusd.door.http.body import Body, BodyMemory, close
from rusd.door.http.connection import (
    FIELDS,
    SECTION,
    UNSUPPORTED,
    ConnectionOwner,
    HttpConnection,
)
from rusd.door.http.router import page_request
from rusd.door.http.websocket import serve_socket
from rusd.door.http.whole import HOST, DirectPages, WholeConnection, WholeRequests
from rusd.door.time_budget import TimeBudget
from rusd.rpc.pages import BodyMalformed, PageRequest, PageResponse

log = get_logger(__name__)

#: aiohttp logs a stack trace for every client that does not speak HTTP; the router logs failures.
_SILENT = logging.getLogger(f"{__name__}.aiohttp")
_SILENT.setLevel(logging.CRITICAL)

#: Seconds from the connection, or from its last response, to the end of the next header section.
IDLE_SECONDS = 60.0
#: Seconds for which the rest of an unread body is discarded before the connection is closed.
LINGER_SECONDS = 2.0
#: Seconds for open requests to end when the door stops.
GRACE_SECONDS = 1.0


class Pages(DirectPages, Protocol):
    """Handler of requests: a router, or checks before it."""

    def accepts_socket(self, request: PageRequest) -> bool:
        """Return whether a WebSocket may be opened at the request's path."""


class Handler:
    """Makes the protocols of accepted connections, and serves their requests."""

    def __init__(
        self, pages: Pages, body_memory: BodyMemory, budget: TimeBudget, owner: ConnectionOwner
    ) -> None:
        self._pages = pages
        self._budget = budget
        self._body_memory = body_memory
        self._owner = owner
        # (No `web.Application`: its routes and middleware cost half as much again.)
        self._server = web.Server(
            self._serve,
            request_factory=_request,
            handler_cancellation=True,
        )
        self._runner = web.ServerRunner(
            self._server, handle_signals=False, shutdown_timeout=GRACE_SECONDS
        )

    async def start(self) -> None:
        """Make `protocol` usable."""
        await self._runner.setup()

    def protocol(self) -> HttpConnection:
        """Return the protocol of an accepted connection."""
        return HttpConnection(
            self._owner,
            self._server,
            self._whole,
            self._body_memory,
            access_log=None,
            logger=_SILENT,
            keepalive_timeout=IDLE_SECONDS,
            lingering_time=LINGER_SECONDS,
            max_line_size=SECTION,
            max_field_size=SECTION,
            max_headers=FIELDS,
            # (etcd ignores Content-Encoding too. A short body would become gigabytes.)
            auto_decompress=False,
        )

    def _whole(self, connection: HttpConnection) -> WholeRequests:
        return WholeRequests(
            cast(WholeConnection, connection), self._pages, self._budget, self._body_memory
        )

    async def stop(self) -> None:
        """Close every connection after its current response."""
        await self._runner.cleanup()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = cast(HttpConnection, request.protocol)
        if not HOST.fullmatch(request.headers.get("Host", "")):
            return _refused(HTTPStatus.BAD_REQUEST, "400 Bad Request: malformed Host header")
        if request.version.major != 1:
            text = "505 HTTP Version Not Supported: unsupported protocol version"
            return _refused(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, text)
        if request.headers.get("Transfer-Encoding", "chunked").strip().lower() != "chunked":
            return _refused(HTTPStatus.NOT_IMPLEMENTED, UNSUPPORTED)
        if request.headers.get("Expect", "100-continue").lower() != "100-continue":
            return _refused(HTTPStatus.EXPECTATION_FAILED)
        announced = request.content_length
        if (announced or 0) > self._body_memory.each:
            return _refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        body = _RequestBody(request, announced, self._body_memory)
        # (The first value of a name that is repeated.)
        fields = {name.lower(): value for name, value in reversed(list(request.headers.items()))}
        target = request.raw_path
        asked = page_request(request.method, target, fields, body, connection.caller)
        if "upgrade" in fields and self._pages.accepts_socket(asked):
            socket = await serve_socket(request, asked, self._pages.serve, self._body_memory.each)
            if socket is not None:
                return socket
        try:
            response = await self._pages.serve(asked)
            # (The parser has lost what follows a body with an upgrade declined.)
            last = (
                not connection.another()
                or (request.body_exists and "upgrade" in fields)
                or request.content.exception() is not None
            )
            if isinstance(response.body, bytes):
                whole = web.Response(
                    status=response.status, headers=response.headers, body=response.body
                )
                if last:
                    whole.force_close()
                return whole
            return await _stream_body(request, response, response.body, last)
        finally:
            body.release()
            connection.served()


def _refused(status: HTTPStatus, reason: str = "") -> web.Response:
    """Return the response to a request that is not read further."""
    refusal = web.Response(status=status, text=reason or None)
    refusal.force_close()
    return refusal


class _RequestBody(Body):
    """A body whose chunks aiohttp parses; it reads ahead by less than 128 KiB."""

    def __init__(self, request: web.BaseRequest, announced: int | None, memory: BodyMemory) -> None:
        super().__init__(announced, memory)
        self._content = request.content
        self._connection = request.protocol
        expects = request.headers.get("Expect", "").lower() == "100-continue"
        self._expects = expects and request.version >= (1, 1)

    async def read(self) -> bytes:
        content = self._content
        if content.is_eof() and content.exception() is None and self._announced:
            # It has arrived with its head: nothing is waited for.
            whole = content.read_nowait(-1)
            self._memory.take(len(whole))
            self._taken += len(whole)
            return whole
        return await super().read()

    async def chunks(self) -> AsyncIterator[bytes]:
        if self._expects and self._connection.transport is not None:
            self._expects = False
            self._connection.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while chunk := await self._next():
            yield chunk

    async def _next(self) -> bytes:
        try:
            return await self._content.readany()
        except (ConnectionError, BodyMalformed) as error:
            # The content keeps it, and its frames hold the content: a cycle.
            error.__traceback__ = None
            raise type(error)(*error.args) from None


async def _stream_body(
    request: web.BaseRequest, page: PageResponse, chunks: AsyncIterator[bytes], last: bool
) -> web.StreamResponse:
    """Send the chunks at the client's pace."""
    response = _Streamed(status=page.status, headers=page.headers)
    if last:
        response.force_close()
    try:
        await response.prepare(request)
        if request.method != "HEAD":
            async for chunk in chunks:
                await response.write(chunk)
        await response.write_eof()
    except ConnectionError:
        pass  # the client has gone
    except asyncio.CancelledError:
        # (What waits for the client in the transport is dropped too.)
        if request.transport is not None:
            cast(HttpConnection, request.protocol).closing("a response that was given up")
            request.transport.abort()
        raise
    except Exception:
        log.exception("a page failed", extra={"fields": {"page": request.raw_path}})
        # Without its last chunk the response is seen to be incomplete.
        response.force_close()
        if request.transport is not None:
            cast(HttpConnection, request.protocol).closing("a page failed")
            request.transport.close()
    finally:
        await close(chunks)
    return response


class _Streamed(web.StreamResponse):
    """A response without a default content type."""

    async def _prepare_headers(self) -> None:
        typed = "Content-Type" in self.headers
        await super()._prepare_headers()
        if not typed:
            self.headers.popall("Content-Type", None)


class _Request(web.BaseRequest):
    """A request whose response does not name aiohttp."""

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        response.headers.pop("Server", None)


def _request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> _Request:
    return _Request(message, payload, protocol, writer, task, asyncio.get_running_loop())
