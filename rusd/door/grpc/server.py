"""The client port: gRPC over HTTP/2 for a table of methods, and HTTP/1.1 beside it.

    listeners ─▶ ProtocolDetector ─┬─ HTTP/2 ─▶ GrpcConnection
                                   └─ HTTP/1.1 ─▶ `http` (`door/http/server.py`)

Everything runs in callbacks of the loop: a call needs no task. Once a second the door checks the
timeouts of all connections, and closes some of them if the memory budget demands it.
"""

import asyncio
from collections.abc import Callable, Sequence

from rusd.base.logs import get_logger
from rusd.base.supervised import Fail
from rusd.door.grpc.connection import GrpcConnection
from rusd.door.grpc.deadlines import Deadlines
from rusd.door.grpc.dispatch import Dispatcher
from rusd.door.grpc.door_state import DoorState
from rusd.door.grpc.keepalive import Keepalive
from rusd.door.h2 import Limits
from rusd.door.http.access import Origins
from rusd.door.http.body import BodyMemory
from rusd.door.http.http2 import Serve
from rusd.door.lateness import is_late
from rusd.door.listen.listener import Bindings, Listeners, Tls
from rusd.door.listen.protocol_detection import MakeProtocol, ProtocolDetector
from rusd.door.memory_budget import MemoryBudget, default_budget
from rusd.door.time_budget import TimeBudget
from rusd.rpc.errors import STOPPED
from rusd.rpc.methods import CallCounts, Methods
from rusd.rpc.request_log import RequestLog

log = get_logger(__name__)

#: gRPC's own overhead that etcd allows above --max-request-bytes.
OVERHEAD_BYTES = 512 << 10
#: Bytes of incomplete requests of one connection: so many of the largest, and at least so much,
#: but this part of the memory budget at most.
KEPT_REQUESTS, KEPT_LEAST = 8, 16 << 20
KEPT_PART = 8
#: Seconds between checks of every connection.
SWEEP = 1.0
#: Seconds between two lines about clients whose connection was closed.
QUIET_SECONDS = 10.0


def _held(connection: GrpcConnection) -> int:
    return connection.memory.held


class GrpcDoor:
    """One table of methods on any number of listeners."""

    def __init__(
        self,
        methods: Methods,
        *,
        fail: Fail,
        max_request_bytes: int,
        max_concurrent_streams: int,
        keepalive_min_time: float,
        unknown_calls: CallCounts | None = None,
        keepalive_interval: float = 7200,
        keepalive_timeout: float = 20,
        pages: Serve | None = None,
        http: MakeProtocol | None = None,
        body_memory: BodyMemory | None = None,
        budget: TimeBudget | None = None,
        memory_budget: int = 0,
        request_log: RequestLog | None = None,
        origins: Origins | None = None,
    ) -> None:
        """`fail` gets the exception of a background task, which ends the member.

        `keepalive_*`: see `Keepalive`. `unknown_calls` counts calls of unknown methods. `pages`
        answers HTTP/2 requests that are not gRPC, `body_memory` counts their bodies; `http` makes
        protocols for HTTP/1.1. `budget`: the time for everything that connections cause.
        `memory_budget`: bytes, see `memory_budget.py`; 0: by the size of the machine. `request_log`
        gets the slow unary calls. `origins`: whose web pages may call; None: this one's.
        """
        self.limit = max_request_bytes + OVERHEAD_BYTES
        self.budget = budget or TimeBudget()
        self._memory_budget = memory_budget or default_budget(self.limit)
        self._keepalive = Keepalive(keepalive_min_time, keepalive_interval, keepalive_timeout)
        kept = max(KEPT_LEAST, KEPT_REQUESTS * self.limit)
        self.limits = Limits(
            max_streams=max_concurrent_streams,
            kept=max(min(kept, self._memory_budget // KEPT_PART), self.limit),
        )
        self._dispatcher = Dispatcher(
            methods,
            pages,
            body_memory or BodyMemory(),
            unknown_calls or CallCounts(),
            origins or Origins(()),
        )
        self._http = http
        self._request_log = request_log
        #: Connections that speak gRPC, and those whose protocol is not known yet.
        self.connections: dict[GrpcConnection, None] = {}
        self.unidentified: dict[ProtocolDetector, None] = {}
        self._listeners = Listeners(fail)
        #: The connection whose only answer exceeds the memory budget, or did when it began.
        self._allowed: GrpcConnection | None = None
        self._warned = float("-inf")
        self._sweeping: asyncio.TimerHandle | None = None

    async def start(self, urls: Sequence[str] | Bindings, tls: Tls = None) -> None:
        """Accept on `urls`; OSError if one is not available. May be called again for more."""
        if self._sweeping is None:
            loop = self._loop = asyncio.get_running_loop()
            self.memory = MemoryBudget(self._memory_budget, loop.call_soon, self._close_largest)
            self._state = DoorState(
                self.limit, self.budget, self.memory, Deadlines(loop), self._request_log
            )
            self._sweep_later()
        await self._listeners.listen(urls, self._detector, tls)

    def _detector(self) -> ProtocolDetector:
        return ProtocolDetector(self.budget, self.unidentified, self._grpc_connection, self._http)

    def _grpc_connection(self, used: float) -> GrpcConnection:
        return GrpcConnection(
            self._state, self._dispatcher, self.limits, self._keepalive, self.connections, used
        )

    def _sweep_later(self) -> None:
        due = self._loop.time() + SWEEP
        self._sweeping = self._loop.call_at(due, self._sweep, due)

    def _sweep(self, due: float) -> None:
        now = self._loop.time()
        late = is_late(due, now)
        for connection in list(self.connections):
            connection.sweep(now, late=late)
        if self._allowed not in self.connections or not self._is_allowed(self._allowed):
            self._allowed = None
        if self.memory.must_free:
            self._close_idle_holders()
        self.memory.trim_freed()
        self._sweep_later()

    # Memory

    def _close_idle_holders(self) -> None:
        """Close connections that hold much memory and move few bytes, the largest first, until
        there is space.
        """
        idle = [one for one in self.connections if one.memory.is_idle_holder()]
        idle.sort(key=lambda one: one.memory.claimed, reverse=True)
        for connection in idle:
            if not self.memory.must_free:
                return
            if self.memory.has_waiting or connection is not self._allowed:
                self._close_for_memory(connection)

    def _close_largest(self) -> None:
        """Close the largest connections until the budget holds, or one answer alone exceeds it."""
        memory = self.memory
        while memory.held > memory.budget:
            allowed = self._allowed
            if allowed in self.connections and self._is_allowed(allowed):
                break  # (known already: called in every turn that adds memory)
            self._allowed = max(self.connections, key=_held, default=None)
            if not self._is_allowed(self._allowed) and not self._close_first(_held):
                break
        while memory.overhead > memory.half and self._close_first(lambda one: one.memory.overhead):
            pass

    def _is_allowed(self, connection: GrpcConnection | None) -> bool:
        """Return whether `connection` holds one answer only, and all others at most half the
        budget.
        """
        single = 0 if connection is None else connection.memory.single_answer
        return bool(single) and self.memory.allows_single(single)

    def _close_first(self, size: Callable[[GrpcConnection], int]) -> bool:
        """Close the connection with the largest `size`; False if none has any."""
        largest = max(self.connections, key=size, default=None)
        if largest is None or not size(largest):
            return False
        self._close_for_memory(largest)
        return True

    def _close_for_memory(self, connection: GrpcConnection) -> None:
        size = connection.memory.held + connection.memory.overhead
        fields = {"remote-addr": connection.caller.address, "bytes": size}
        connection.close_for_memory()
        if self._loop.time() - self._warned > QUIET_SECONDS:
            self._warned = self._loop.time()
            log.warning("client cut off: too much memory is held for it", extra={"fields": fields})

    # The end

    async def stop(self, grace: float) -> None:
        """Refuse new calls, end streams, let other calls finish for `grace` seconds."""
        self._listeners.close()
        for unidentified in list(self.unidentified):
            unidentified.close()
        if self._sweeping is not None:
            for stream in list(self._state.streams):
                stream.finish(STOPPED())
        for connection in list(self.connections):
            connection.drain()
        if grace and not await self._idle(grace):
            await asyncio.sleep(0)
        for connection in list(self.connections):
            connection.close()
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
        while not all(connection.idle for connection in self.connections):
            if loop.time() > end:
                return False
            await asyncio.sleep(0.005)
        return True
