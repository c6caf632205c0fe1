"""The client port: gRPC over HTTP/2 for a table of methods, and HTTP/1.1 beside it.

    socket ─ sniffer.py ─┬─ HTTP/2 ── channel.py ── h2/ ─┬─ calls.py   one message, one answer
                         │                               ├─ stream.py  messages both ways
                         │                               └─ pagecall.py  what is not gRPC
                         └─ HTTP/1.1 ── http_door.py

Everything runs in callbacks of the loop: a call needs no task. The door counts calls, watches their
deadlines, and ends them in order when the member stops.
"""

import asyncio
from collections.abc import Sequence

from rusd.api.seam import Methods
from rusd.door.budget import Budget
from rusd.door.calls import Finished, Started
from rusd.door.channel import Channel
from rusd.door.deadlines import Deadlines
from rusd.door.h2 import Limits
from rusd.door.listening import Listeners, Tls
from rusd.door.opening import Openings
from rusd.door.pagecall import Serve
from rusd.door.sniffer import Http, Sniffer
from rusd.door.stream import StreamCall
from rusd.errors import STOPPED

#: gRPC's own overhead that etcd allows above --max-request-bytes.
OVERHEAD_BYTES = 512 << 10
#: Seconds between looks at every connection.
SWEEP = 1.0


class GrpcDoor:
    """One table of methods on any number of listeners."""

    def __init__(
        self,
        methods: Methods,
        *,
        max_request_bytes: int,
        max_concurrent_streams: int,
        keepalive_min_time: float,
        finished: Finished,
        started: Started = lambda path: None,
        keepalive_interval: float = 7200,
        keepalive_timeout: float = 20,
        pages: Serve | None = None,
        http: Http | None = None,
        budget: Budget | None = None,
    ) -> None:
        """`keepalive_min_time`: seconds; clients that ping more often are sent away.
        `keepalive_interval`: seconds of silence after which the server pings a client (0: never);
        `keepalive_timeout`: seconds until one that does not answer is given up.
        `pages` answers HTTP/2 requests that are not gRPC, `http` makes protocols for HTTP/1.1.
        `budget`: the time for everything that connections cause."""
        self.limit = max_request_bytes + OVERHEAD_BYTES
        self.started = started
        self.finished = finished
        self.keepalive_min_time = keepalive_min_time
        self.keepalive_interval = keepalive_interval
        self.keepalive_timeout = keepalive_timeout
        self.pages = pages
        self.budget = budget or Budget()
        self.openings = Openings(methods, pages=pages is not None)
        self.limits = Limits(max_streams=max_concurrent_streams)
        self._http = http
        #: Connections that speak gRPC, and those that have not spoken yet; the open streams.
        self.channels: dict[Channel, None] = {}
        self.strangers: dict[Sniffer, None] = {}
        self.streams: dict[StreamCall, None] = {}
        self._listeners = Listeners()
        self._sweeping: asyncio.TimerHandle | None = None

    async def start(self, urls: Sequence[str], tls: Tls = None) -> None:
        """Listen on `urls`; OSError if one cannot be had. May be called again for more."""
        self._loop = asyncio.get_running_loop()
        self.deadlines = Deadlines(self._loop)
        await self._listeners.listen(urls, lambda: Sniffer(self, self._http), tls)
        if self._sweeping is None:
            self._sweeping = self._loop.call_later(SWEEP, self._sweep)

    def queued(self) -> int:
        """Bytes of answers that wait for clients to take them."""
        return sum(channel.connection.queued for channel in self.channels)

    def _sweep(self) -> None:
        now = self._loop.time()
        for channel in list(self.channels):
            channel.sweep(now)
        self._sweeping = self._loop.call_later(SWEEP, self._sweep)

    async def stop(self, grace: float) -> None:
        """Refuse new calls, end streams, let the others finish for `grace` seconds."""
        self._listeners.close()
        for stranger in list(self.strangers):
            stranger.close()
        for stream in list(self.streams):
            stream.finish(STOPPED)
        for channel in list(self.channels):
            channel.drain()
        if grace and not await self._idle(grace):
            await asyncio.sleep(0)
        for channel in list(self.channels):
            channel.close()
        if self._sweeping is not None:
            self._sweeping.cancel()
        # The last callbacks of what was closed.
        for _ in range(3):
            await asyncio.sleep(0)
        while not self.budget.idle:
            await asyncio.sleep(0)

    async def _idle(self, grace: float) -> bool:
        """Wait until no call is under way, for `grace` seconds at most."""
        loop = asyncio.get_running_loop()
        end = loop.time() + grace
        while not all(channel.idle for channel in self.channels):
            if loop.time() > end:
                return False
            await asyncio.sleep(0.005)
        return True
