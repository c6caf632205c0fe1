"""One client's connection: a socket, its HTTP/2 core, and the time for both.

    socket ─▶ data_received ─▶ h2 ─▶ dispatch ─▶ calls
    socket ◀─ _flush ◀─ h2 ◀──────── answers ◀────┘

What one read brought is acted on and answered with one write, within the time that the time budget
gives this connection; the rest is deferred, and nothing more is read until it is done. A socket
that takes no more data is not written to, nor read from, until it does: a client that reads no
answers sends no requests, and what it has sent is not acted on.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import cast

from rusd.base.logs import get_logger
from rusd.door import closings
from rusd.door.caller import caller_of
from rusd.door.grpc.answer_queue import AnswerQueue
from rusd.door.grpc.dispatch import Dispatcher
from rusd.door.grpc.door_state import DoorState, Flushable
from rusd.door.grpc.keepalive import Keepalive, PingPolicy
from rusd.door.grpc.memory_usage import MemoryUsage
from rusd.door.grpc.timeouts import Timeouts
from rusd.door.h2 import Connection, Limits
from rusd.door.h2.errors import ENHANCE_YOUR_CALM, NAMES, NO_ERROR
from rusd.door.http.http2 import PageQueue
from rusd.door.ports import TimedCall
from rusd.rpc.call import Caller

#: Bytes the socket may hold back before the connection is paused.
WRITE_HIGH = 256 << 10
#: Seconds for a client to read why its connection is closed.
LINGER_SECONDS = 1.0

log = get_logger(__name__)


class GrpcConnection(asyncio.Protocol):
    """The protocol of one connection: a `Worker`, and the `CallConnection` of its calls."""

    def __init__(
        self,
        door: DoorState,
        dispatcher: Dispatcher,
        limits: Limits,
        keepalive: Keepalive,
        connections: "dict[GrpcConnection, None]",
        used: float = 0.0,
    ) -> None:
        """`connections`: those of the door, which this one joins and leaves.

        `used`: its charge as a worker so far.
        """
        self.door = door
        self.caller = Caller("")
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        #: Loop time of the last read.
        self.now = self._loop.time()
        self._pings = PingPolicy(keepalive.min_time)
        self.h2 = Connection(
            limits,
            dispatcher.parse,
            partial(dispatcher.receiver, self),
            self._pinged,
            self._wake,
            self.now,
            door.budget.spent,
            door.memory,
        )
        self.memory = MemoryUsage(self.h2, door.memory)
        self.answers = AnswerQueue(
            door.memory, self._queued, self.memory.exceeds_share, self.memory.allows_small
        )
        self.wait_writable = self.answers.wait
        self._timeouts = Timeouts(self.h2, keepalive, self.now)
        self.pages = PageQueue(self.do)
        #: As a worker of the time budget.
        self.used = used
        self.waiting = False
        self._working = False
        #: Work beside acting on what was received.
        self._tasks: deque[Callable[[], object]] = deque()
        #: Streams whose messages of this turn are not framed yet.
        self._gathered: deque[Flushable] = deque()
        self._transport: asyncio.Transport | None = None
        #: Whether reading is paused, and whether the socket takes no more data.
        self._paused = False
        self._held = False
        self._closing: asyncio.TimerHandle | None = None
        #: Why this server closed the connection, if it was not by an error of HTTP/2.
        self._reason = ""

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(WRITE_HIGH)
        self.caller = caller_of(transport)
        self._connections[self] = None

    def data_received(self, data: bytes) -> None:
        self.now = self._loop.time()
        self.h2.feed(data, self.now)
        self.run()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: BaseException | None) -> None:
        self.memory.count_unwritten(0)
        self._transport = None
        self._connections.pop(self, None)
        self.answers.close()
        if self._closing is not None:
            self._closing.cancel()
        self._log_end(error)
        self._tasks.appendleft(self.h2.lost)
        self.run()

    def _log_end(self, error: BaseException | None) -> None:
        remote = self.caller.address
        if self._reason:
            closings.log_closed(remote, self._reason)
        elif self.h2.failure is None:
            closings.log_left(remote, error)
        elif self.h2.failure[0] == NO_ERROR:
            closings.log_usual(remote, self.h2.failure[1])
        else:
            code, text = self.h2.failure
            closings.log_closed(remote, text, NAMES[code])

    def pause_writing(self) -> None:
        self._held = True
        if self._transport is not None:
            self.memory.count_unwritten(self._transport.get_write_buffer_size())
        self.h2.outbound.hold(True)
        self._pause(True)

    def resume_writing(self) -> None:
        self._held = False
        self.memory.count_unwritten(0)
        self.h2.outbound.hold(False)
        self._timeouts.written(self._loop.time())
        self.run()

    # Work

    def run(self) -> None:
        """Do pending work, now or when this connection's turn comes."""
        self.door.budget.run(self)
        if self.waiting:
            self._pause(True)

    def do(self, task: Callable[[], object]) -> None:
        """Run `task` after the running callback, within the connection's time budget."""
        self._tasks.append(task)
        if not self._working:
            self.door.budget.defer(self)

    def work(self) -> bool:
        """See `Worker` (`rusd/door/ports.py`)."""
        h2, tasks = self.h2, self._tasks
        self._working = True
        try:
            in_time = not tasks or self._run_tasks()
            if in_time and h2.more and self._may_act:
                h2.act()
                if tasks:
                    self._run_tasks()
            if h2.outbound.in_turn:
                h2.outbound.pump()
        except Exception:
            log.exception(
                "a connection failed", extra={"fields": {"remote-addr": self.caller.address}}
            )
            self._give_up("internal error")
        finally:
            self._working = False
        self._flush()
        if tasks or (self._gathered and not self._held) or (h2.more and self._may_act):
            return True
        if h2.outbound.in_turn and h2.outbound.sendable:
            return True
        if self._paused:
            self._pause(self._held)
        return False

    @property
    def _may_act(self) -> bool:
        """Whether requests may be processed: the client reads its responses."""
        return not self._held or self.h2.closed

    def _run_tasks(self) -> bool:
        """Run the queued tasks; return whether time is left."""
        tasks, spent = self._tasks, self.door.budget.spent
        while tasks:
            tasks.popleft()()
            if spent():
                return False
        return True

    def _give_up(self, reason: str) -> None:
        """Close the connection at once."""
        self._tasks.clear()
        self._reason = reason
        if self._transport is not None:
            self._transport.abort()

    def _pause(self, paused: bool) -> None:
        """Pause reading from the socket, or resume it."""
        transport = self._transport
        if paused != self._paused and transport is not None and not transport.is_closing():
            self._paused = paused
            if paused:
                transport.pause_reading()
            else:
                self._timeouts.unread(self._loop.time())
                transport.resume_reading()

    # Writing

    def _wake(self) -> None:
        if not self._working:
            self._loop.call_soon(self.run)

    def _flush(self) -> None:
        transport, gathered = self._transport, self._gathered
        if transport is None:
            gathered.clear()
        if transport is None or self._held:
            return
        while gathered:
            gathered.popleft().flush()
            if self.door.budget.spent():
                break
        output = self.h2.outbound.take()
        if output and not transport.is_closing():
            transport.write(output)
            if not self._held:
                self.answers.resume()
        if self.h2.closed and self._closing is None:
            self._close_lingering(transport)

    def _close_lingering(self, transport: asyncio.Transport) -> None:
        """Shut down the sending side first: closing the socket while the client writes would reset
        the connection, and the GOAWAY frame with the reason would be lost.
        """
        self._closing = self._loop.call_later(LINGER_SECONDS, transport.abort)
        if transport.can_write_eof() and not transport.is_closing():
            with suppress(OSError):  # the client has just gone
                transport.write_eof()
        else:
            transport.close()

    # Calls

    def gather(self, call: Flushable) -> None:
        """Flush `call` before the next write."""
        if not self._gathered:
            self._wake()
        self._gathered.append(call)

    def write_early(self, call: Flushable) -> None:
        """See `CallConnection`. Calls no service, since a service may be inside `send`."""
        # (Data of other streams that waits for its turn would be sent too, and their services
        # would be told.)
        if not (self._held or self.h2.closed or self.h2.outbound.in_turn):
            self.door.budget.run_early(self, partial(self._write_early, call))

    def _write_early(self, call: Flushable) -> bool:
        transport, outbound = self._transport, self.h2.outbound
        if transport is None or transport.is_closing():
            return False
        self._working = True
        try:
            call.flush()
            output = outbound.take()
            if output:
                transport.write(output)
        finally:
            self._working = False
        return bool(self._tasks) or outbound.sendable

    def _queued(self) -> int:
        return self.h2.outbound.queued

    def exceeds_share(self) -> bool:
        return self.memory.exceeds_share()

    def _pinged(self) -> bool:
        outbound = self.h2.outbound
        excused, outbound.busy = outbound.busy, False
        return self._pings.allows(self.now, excused=excused)

    # Time

    def expire(self, calls: dict[TimedCall, None]) -> None:
        """End these calls: their deadline has passed."""
        self.do(partial(self._expire, calls))

    def _expire(self, calls: dict[TimedCall, None]) -> None:
        while calls:
            calls.popitem()[0].expired()
            if self.door.budget.spent():
                self.do(partial(self._expire, calls))
                return

    def sweep(self, now: float, *, late: bool) -> None:
        """Check the timeouts; called once a second. `late`: the loop stood still before."""
        transport = self._transport
        if self.h2.closed:
            if self._held and transport is not None:
                transport.abort()  # GOAWAY cannot be written
            return
        if transport is not None:
            # (A transport does not report what it holds below its mark.)
            self.memory.count_unwritten(transport.get_write_buffer_size() + self.h2.unread)
        if late:
            self._timeouts.written(now)
        if late or self._paused or self.h2.more:
            self._timeouts.unread(now)
        failure = self._timeouts.failure(now)
        if failure is not None:
            self.do(partial(self.h2.fail, *failure))
        elif gone := self._timeouts.unresponsive(now, self.now, held=self._held):
            self._reason = gone
            if transport is not None:
                transport.abort()
        elif self._timeouts.ping_due(now, self.now):
            self.h2.ping(b"rusd ok?")

    # Ends

    def close_for_memory(self) -> None:
        """Close at once, to free the memory held for the client."""
        self.h2.fail(ENHANCE_YOUR_CALM, "member out of memory for clients")
        # (If it had failed before, some of its streams may wait for their turn to be ended.)
        self.h2.lost()
        self.memory.count_unwritten(0)
        if self._transport is not None:
            self._transport.abort()

    def drain(self) -> None:
        """Refuse new calls."""
        self.h2.drain()
        self._flush()

    def close(self) -> None:
        """End everything now."""
        self.h2.fail(NO_ERROR, "server stopped")
        self._flush()
        if self._transport is not None:
            self._transport.close()

    @property
    def idle(self) -> bool:
        """Whether no call is in progress, and everything is written."""
        written = self._transport is None or not self._transport.get_write_buffer_size()
        return not self.h2.streams and written
