"""HTTP/1.1: the pages of a member.

Listens on `--listen-metrics-urls` and `--listen-client-http-urls`, and makes protocols for
connections that the client port has accepted.

Limits: an idle connection, or a header section that does not end, is closed after `IDLE_SECONDS`; a
body that its page does not read is discarded for `LINGER_SECONDS` (`handler.py`); a client that
does not read its responses is disconnected (`connection.py`). A page is cancelled when its client
disconnects.

aiohttp takes a tenth of a second of CPU time to load, a third of what a start takes. A thread loads
it once the member serves clients, or when the first connection comes, which is kept unread until
then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from rusd.base.supervised import Fail, Tasks
from rusd.door import closings
from rusd.door.caller import caller_of
from rusd.door.http.body import BodyMemory
from rusd.door.lateness import is_late
from rusd.door.listen.listener import Bindings, Listeners, Tls
from rusd.door.time_budget import TimeBudget
from rusd.door.tls.context import ClientTls

if TYPE_CHECKING:
    from rusd.door.http.connection import HttpConnection
    from rusd.door.http.handler import Handler, Pages

#: Seconds between checks for clients that do not read.
SWEEP = 1.0


class HttpDoor:
    """Pages over HTTP/1.1."""

    def __init__(
        self,
        pages: Pages,
        fail: Fail,
        body_memory: BodyMemory | None = None,
        budget: TimeBudget | None = None,
    ) -> None:
        """`fail` gets the exception of a background task, which ends the member. `body_memory`: a
        request that announces more than its bound of one body is refused unread. `budget`: the time
        for requests that arrive whole.
        """
        self._pages = pages
        self._budget = budget or TimeBudget()
        self.body_memory = body_memory or BodyMemory()
        self._listeners = Listeners(fail)
        self._stopping = False
        self._tasks = Tasks(fail)
        #: None until it is loaded.
        self._handler: Handler | None = None
        #: Connections that wait for it.
        self.early: set[_EarlyConnection] = set()
        self.connections: dict[HttpConnection, asyncio.Transport] = {}
        self._sweeping: asyncio.TimerHandle | None = None

    def load(self) -> None:
        """Begin to load what requests need, unless that has begun."""
        if self._handler is None and not self._tasks and not self._stopping:
            self._tasks.start("load the HTTP door", self.prepare())

    async def prepare(self) -> None:
        """Load what requests need; connections are served from then on."""
        if self._handler is not None:
            return
        make = await asyncio.to_thread(_load)
        handler = make(self._pages, self.body_memory, self._budget, self)
        await handler.start()
        self._handler = handler
        early, self.early = self.early, set()
        for connection in early:
            connection.give_to(handler.protocol())

    async def start(self, urls: Sequence[str] | Bindings, tls: Tls = None) -> None:
        """Accept, with `tls` for https and unixs. Raises OSError if an address is not available.

        May be called again for more.
        """
        if isinstance(tls, ClientTls):
            tls = tls.speaking("http/1.1")
        await self._listeners.listen(urls, self.protocol, tls)

    def protocol(self) -> asyncio.Protocol:
        """Returns the protocol of an accepted connection; `stop` closes it too."""
        if self._stopping:
            return _Closing()
        if self._handler is None:
            self.load()
            return _EarlyConnection(self.early)
        return self._handler.protocol()

    def joined(self, connection: HttpConnection, transport: asyncio.BaseTransport) -> None:
        """A connection was made."""
        self.connections[connection] = cast(asyncio.Transport, transport)
        if self._sweeping is None:
            self._sweep_later()

    def left(self, connection: HttpConnection) -> None:
        """A connection was lost."""
        self.connections.pop(connection, None)

    def _sweep_later(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + SWEEP
        self._sweeping = loop.call_at(due, self._sweep, due)

    def _sweep(self, due: float) -> None:
        now = asyncio.get_running_loop().time()
        late = is_late(due, now)
        self._sweeping = None
        for connection, transport in list(self.connections.items()):
            if connection.stalled(transport.get_write_buffer_size(), now, late=late):
                connection.closing("the client does not read")
                transport.abort()
            connection.sweep()
        if self.connections:
            self._sweep_later()

    async def stop(self) -> None:
        """Stop listening, and close every connection after its current response."""
        self._stopping = True
        self._listeners.close()
        await self._tasks.stop()
        for connection in list(self.early):
            connection.close()
        if self._handler is not None:
            await self._handler.stop()
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None


class _Closing(asyncio.Protocol):
    """Closes a connection that was accepted while the door stopped."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        closings.log_usual(caller_of(transport).address, "server stopped")
        transport.close()


class _EarlyConnection(asyncio.Protocol):
    """Keeps a connection unread until it is given to its protocol."""

    def __init__(self, waiting: set[_EarlyConnection]) -> None:
        """`waiting`: those of the door, which this one joins and leaves."""
        self._waiting = waiting
        self._seen = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.pause_reading()
        self._waiting.add(self)

    def data_received(self, data: bytes) -> None:
        """Keep what the client port has read to detect the protocol."""
        self._seen += data

    def connection_lost(self, error: BaseException | None) -> None:
        self._waiting.discard(self)

    def give_to(self, protocol: asyncio.Protocol) -> None:
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        # (First: the protocol may pause reading.)
        self._transport.resume_reading()
        if self._seen:
            protocol.data_received(self._seen)

    def close(self) -> None:
        closings.log_usual(caller_of(self._transport).address, "server stopped")
        self._transport.abort()


def _load() -> type[Handler]:
    from rusd.door.http.handler import Handler

    return Handler
