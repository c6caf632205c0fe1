"""HTTP/1.1: the pages of a member, by aiohttp.

Listens on `--listen-metrics-urls` and `--listen-client-http-urls`, and makes protocols for
connections that the client port has accepted.

Limits: an idle connection, or a header section that does not end, is closed after `IDLE_SECONDS`; a
body that its page does not read is discarded for `LINGER_SECONDS`; a client that does not read its
responses is disconnected (`connection.py`). A page is cancelled when its client disconnects.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from http import HTTPStatus
from typing import cast

from aiohttp import web

from rusd.base.logs import get_logger
from rusd.base.supervised import Fail
from rusd.door.http.body import BODY_LIMIT, Body, BodyMemory, close
from rusd.door.http.connection import HttpConnection
from rusd.door.http.router import Router, page_request
from rusd.door.listen.listener import Listeners, Tls
from rusd.door.tls.context import ClientTls
from rusd.rpc.pages import PageResponse

log = get_logger(__name__)

#: aiohttp logs a stack trace for every client that does not speak HTTP; the router logs failures.
_SILENT = logging.getLogger(f"{__name__}.aiohttp")
_SILENT.setLevel(logging.CRITICAL)

#: Seconds from the connection, or from its last response, to the end of the next header section.
IDLE_SECONDS = 60.0
#: Seconds for which the rest of an unread body is discarded before the connection is closed.
LINGER_SECONDS = 2.0
#: Seconds between checks for clients that do not read.
SWEEP = 1.0
#: Seconds for open requests to end when the door stops.
GRACE_SECONDS = 1.0


class HttpDoor:
    """The pages of one member over HTTP/1.1."""

    def __init__(
        self,
        router: Router,
        fail: Fail,
        body_limit: int = BODY_LIMIT,
        body_memory: BodyMemory | None = None,
    ) -> None:
        """`fail` gets the exception of a background task, which ends the member. `body_limit`:
        bytes of a request; one that announces more is refused unread.
        """
        self._router = router
        self.body_memory = body_memory or BodyMemory()
        self._body_limit = body_limit
        self._listeners = Listeners(fail)
        self._stopping = False
        app = web.Application(client_max_size=body_limit)
        app.on_response_prepare.append(_anonymous)
        app.router.add_route("*", "/{page:.*}", self._serve)
        self._runner = web.AppRunner(
            app,
            handle_signals=False,
            shutdown_timeout=GRACE_SECONDS,
            handler_cancellation=True,
        )
        self.connections: dict[HttpConnection, asyncio.Transport] = {}
        self._sweeping: asyncio.TimerHandle | None = None

    async def prepare(self) -> None:
        """Make `protocol` usable without `start`, which includes it."""
        if self._runner.server is None:
            await self._runner.setup()

    async def start(self, urls: Sequence[str], tls: Tls = None) -> None:
        """Listen, with `tls` for https and unixs. Raises OSError if an address is not available.

        May be called again for more.
        """
        await self.prepare()
        if isinstance(tls, ClientTls):
            tls = tls.speaking("http/1.1")
        await self._listeners.listen(urls, self.protocol, tls)

    def protocol(self) -> asyncio.Protocol:
        """Returns the protocol of an accepted connection; `stop` closes it too."""
        if self._stopping:
            return _Closing()
        server = self._runner.server
        if server is None:
            raise RuntimeError("the door is not prepared")
        return HttpConnection(
            self,
            server,
            access_log=None,
            logger=_SILENT,
            keepalive_timeout=IDLE_SECONDS,
            lingering_time=LINGER_SECONDS,
        )

    def joined(self, connection: HttpConnection, transport: asyncio.BaseTransport) -> None:
        """A connection was made."""
        self.connections[connection] = cast(asyncio.Transport, transport)
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(SWEEP, self._sweep)

    def left(self, connection: HttpConnection) -> None:
        """A connection was lost."""
        self.connections.pop(connection, None)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection, transport in list(self.connections.items()):
            if connection.stalled(transport.get_write_buffer_size(), now):
                transport.abort()
        again = bool(self.connections)
        self._sweeping = loop.call_later(SWEEP, self._sweep) if again else None

    async def stop(self) -> None:
        """Stop listening, and close every connection after its current response."""
        self._stopping = True
        self._listeners.close()
        await self._runner.cleanup()
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        connection = cast(HttpConnection, request.protocol)
        announced = request.content_length
        if (announced or 0) > self._body_limit:
            refusal = web.Response(status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            refusal.force_close()
            return refusal
        body = _RequestBody(request, announced, self._body_limit, self.body_memory)
        # (The first value of a name that is repeated.)
        fields = {name.lower(): value for name, value in reversed(list(request.headers.items()))}
        target = request.raw_path
        try:
            response = await self._router.serve(
                page_request(request.method, target, fields, body, connection.caller)
            )
            # (The parser has lost what follows a body with an upgrade declined.)
            last = not connection.another() or (request.body_exists and "upgrade" in fields)
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


class _Closing(asyncio.Protocol):
    """Closes a connection that was accepted while the door stopped."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


class _RequestBody(Body):
    """A body whose chunks aiohttp parses; it reads ahead by less than 128 KiB."""

    def __init__(
        self, request: web.Request, announced: int | None, limit: int, memory: BodyMemory
    ) -> None:
        super().__init__(announced, limit, memory)
        self._content = request.content

    async def chunks(self) -> AsyncIterator[bytes]:
        while chunk := await self._content.readany():
            yield chunk


async def _stream_body(
    request: web.Request, page: PageResponse, chunks: AsyncIterator[bytes], last: bool
) -> web.StreamResponse:
    """Send the chunks as the client takes them."""
    response = web.StreamResponse(status=page.status, headers=page.headers)
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
    except Exception:
        log.exception("a page failed", extra={"fields": {"page": request.raw_path}})
        # Without its last chunk the response is seen to be incomplete.
        response.force_close()
        if request.transport is not None:
            request.transport.close()
    finally:
        await close(chunks)
    return response


async def _anonymous(request: web.Request, response: web.StreamResponse) -> None:
    """Removes the name of the library from the response."""
    response.headers.pop("Server", None)
