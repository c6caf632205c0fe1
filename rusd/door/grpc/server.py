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
from operator import attrgetter

from rusd.base.logs import get_logger
from rusd.door.grpc.connection import Channel
from rusd.door.grpc.deadlines import Deadlines
from rusd.door.grpc.request_headers import Openings
from rusd.door.grpc.streaming import StreamCall
from rusd.door.h2 import Limits
from rusd.door.http.over_h2 import Serve
from rusd.door.listen.listener import Listeners, Tls
from rusd.door.listen.sniffer import Http, Sniffer
from rusd.door.memory_budget import Memory, default_budget
from rusd.door.time_budget import Budget
from rusd.rpc.errors import STOPPED
from rusd.rpc.methods import CallCounts, Methods

log = get_logger(__name__)

#: gRPC's own overhead that etcd allows above --max-request-bytes.
OVERHEAD_BYTES = 512 << 10
#: Bytes of unfinished requests of one connection: so many of the largest, and at least so much.
KEPT_REQUESTS, KEPT_LEAST = 8, 16 << 20
#: ... but this part of the budget at most.
KEPT_PART = 8
#: Seconds between looks at every connection.
SWEEP = 1.0
#: Seconds between two lines about clients that were cut off.
QUIET_SECONDS = 10.0


class GrpcDoor:
    """One table of methods on any number of listeners."""

    def __init__(
        self,
        methods: Methods,
        *,
        max_request_bytes: int,
        max_concurrent_streams: int,
        keepalive_min_time: float,
        unknown_calls: CallCounts | None = None,
        keepalive_interval: float = 7200,
        keepalive_timeout: float = 20,
        pages: Serve | None = None,
        http: Http | None = None,
        budget: Budget | None = None,
        memory_budget: int = 0,
    ) -> None:
        """`keepalive_min_time`: seconds; clients that ping more often are sent away.
        `keepalive_interval`: seconds of silence after which the server pings a client (0: never);
        `keepalive_timeout`: seconds until one that does not answer is given up.
        `pages` answers HTTP/2 requests that are not gRPC, `http` makes protocols for HTTP/1.1.
        `budget`: the time for everything that connections cause.
        `memory_budget`: bytes, see `memory.py`; 0: by the size of the machine."""
        self.limit = max_request_bytes + OVERHEAD_BYTES
        #: Calls of methods that the table does not hold.
        self.unknown_calls = unknown_calls or CallCounts()
        self.keepalive_min_time = keepalive_min_time
        self.keepalive_interval = keepalive_interval
        self.keepalive_timeout = keepalive_timeout
        self.pages = pages
        self.budget = budget or Budget()
        self.openings = Openings(methods, pages=pages is not None)
        self._memory_budget = memory_budget or default_budget(self.limit)
        kept = max(KEPT_LEAST, KEPT_REQUESTS * self.limit)
        self.limits = Limits(
            max_streams=max_concurrent_streams,
            kept=max(min(kept, self._memory_budget // KEPT_PART), self.limit),
        )
        self._http = http
        #: Connections that speak gRPC, and those that have not spoken yet; the open streams.
        self.channels: dict[Channel, None] = {}
        self.strangers: dict[Sniffer, None] = {}
        self.streams: dict[StreamCall, None] = {}
        self._listeners = Listeners()
        self._warned = float("-inf")
        self._sweeping: asyncio.TimerHandle | None = None

    async def start(self, urls: Sequence[str], tls: Tls = None) -> None:
        """Listen on `urls`; OSError if one cannot be had. May be called again for more."""
        if self._sweeping is None:
            loop = self._loop = asyncio.get_running_loop()
            self.deadlines = Deadlines(loop)
            self.memory = Memory(self._memory_budget, loop.call_soon, self._cut_off_worst)
            self._sweeping = loop.call_later(SWEEP, self._sweep)
        await self._listeners.listen(urls, lambda: Sniffer(self, self._http), tls)

    def _sweep(self) -> None:
        now = self._loop.time()
        for channel in list(self.channels):
            channel.sweep(now)
        if self.memory.wanted:
            self._cut_off_lazy()
        self.memory.give_back()
        self._sweeping = self._loop.call_later(SWEEP, self._sweep)

    def _cut_off_lazy(self) -> None:
        """Those that hold much and move little, the largest first, until there is room."""
        lazy = [channel for channel in self.channels if channel.lazy()]
        lazy.sort(key=lambda channel: channel.claim, reverse=True)
        for channel in lazy:
            if not self.memory.wanted:
                return
            self._cut_off(channel)

    def _cut_off_worst(self) -> None:
        """Above the budget nothing but its size counts."""
        while self.memory.held > self.memory.budget and self._cut_off_first("offence"):
            pass
        while self.memory.overhead > self.memory.half and self._cut_off_first("overhead"):
            pass

    def _cut_off_first(self, what: str) -> bool:
        """Cut off the connection with most of this; False if none has any."""
        size = attrgetter(what)
        worst = max(self.channels, key=size, default=None)
        if worst is None or not size(worst):
            return False
        self._cut_off(worst)
        return True

    def _cut_off(self, channel: Channel) -> None:
        fields = {"remote-addr": channel.peer, "bytes": channel.offence + channel.overhead}
        channel.cut_off()
        if self._loop.time() - self._warned > QUIET_SECONDS:
            self._warned = self._loop.time()
            log.warning("client cut off: too much memory is held for it", extra={"fields": fields})

    async def stop(self, grace: float) -> None:
        """Refuse new calls, end streams, let the others finish for `grace` seconds."""
        self._listeners.close()
        for stranger in list(self.strangers):
            stranger.close()
        for stream in list(self.streams):
            stream.finish(STOPPED())
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
        while not self.budget.idle:  # noqa: ASYNC110 (a turn of the loop each)
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
