"""HTTP/1.1: the pages of `pages.py`, by aiohttp.

The door listens itself (`--listen-metrics-urls`, `--listen-client-http-urls`), and makes protocols
for connections that somebody else has accepted: the client port, where gRPC is at home as well.

A client may keep a connection open and say nothing, or begin a header and never end it, for
`IDLE_SECONDS` in all; one that sends a body nobody asked for has `LINGER_SECONDS` to finish it;
one that does not read its answers is let go as well (`http_connection.py`).
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import cast

from aiohttp import web

from rusd.door.http.connection import HttpConnection
from rusd.door.http.pages import Page, Pages
from rusd.door.listen.listener import Listeners, Tls
from rusd.door.time_budget import TimeBudget
from rusd.door.tls.context import ClientTls
from rusd.observe.health import Probes

#: aiohttp writes a stack trace for every client that does not speak HTTP. Pages log for themselves.
_SILENT = logging.getLogger(f"{__name__}.aiohttp")
_SILENT.setLevel(logging.CRITICAL)

#: Seconds from a connection's begin, or from its last answer, to the end of the next header.
IDLE_SECONDS = 60.0
#: Seconds in which the rest of a body that was not read is thrown away before the client is.
LINGER_SECONDS = 2.0
#: Seconds between looks at connections that do not read.
SWEEP = 1.0
#: Bytes; a request that announces a larger body is refused unread.
BODY_LIMIT = 2 << 20
#: Seconds for answers under way when the door stops.
GRACE_SECONDS = 1.0


class HttpDoor:
    """The pages of one member over HTTP/1.1."""

    def __init__(
        self,
        probes: Probes,
        metrics: Callable[[], bytes],
        body_limit: int = BODY_LIMIT,
        budget: TimeBudget | None = None,
    ) -> None:
        """`metrics` renders the Prometheus text format; `body_limit`: bytes of a request."""
        #: Also for what comes over HTTP/2.
        self.pages = Pages(probes, metrics, budget)
        self._body_limit = body_limit
        self._listeners = Listeners()
        self._stopping = False
        app = web.Application(client_max_size=body_limit)
        app.on_response_prepare.append(_anonymous)
        app.router.add_route("*", "/{page:.*}", self._serve)
        self._runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=GRACE_SECONDS)
        self.connections: dict[HttpConnection, asyncio.Transport] = {}
        self._sweeping: asyncio.TimerHandle | None = None

    async def prepare(self) -> None:
        """Make `protocol` usable without listening; `start` does it as well."""
        if self._runner.server is None:
            await self._runner.setup()

    async def start(self, urls: Sequence[str], tls: Tls = None) -> None:
        """Listen, with `tls` for https and unixs; OSError if an address cannot be had.

        May be called again for more.
        """
        await self.prepare()
        if isinstance(tls, ClientTls):
            tls = tls.speaking("http/1.1")
        await self._listeners.listen(urls, self.protocol, tls)

    def protocol(self) -> asyncio.Protocol:
        """The protocol of one connection, accepted by anybody; `stop` ends it too."""
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
        """A connection has begun."""
        self.connections[connection] = cast(asyncio.Transport, transport)
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(SWEEP, self._sweep)

    def left(self, connection: HttpConnection) -> None:
        """A connection is gone."""
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
        """Accept nothing more and close every connection, after answers that are under way."""
        self._stopping = True
        self._listeners.close()
        await self._runner.cleanup()
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None

    async def _serve(self, request: web.Request) -> web.Response:
        if (request.content_length or 0) > self._body_limit:
            refusal = _response(Page(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, [], b""))
            refusal.force_close()
            return refusal
        response = _response(await self.pages.serve(request.method, request.raw_path))
        connection = request.protocol
        more = not isinstance(connection, HttpConnection) or connection.another()
        if not more or (request.body_exists and "Upgrade" in request.headers):
            # (The parser has lost what follows a body with an upgrade declined.)
            response.force_close()
        return response


class _Closing(asyncio.Protocol):
    """For a connection that comes too late."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _response(page: Page) -> web.Response:
    return web.Response(status=page.status, headers=page.headers, body=page.body)


async def _anonymous(request: web.Request, response: web.StreamResponse) -> None:
    """Which library answers is nobody's business."""
    response.headers.pop("Server", None)
