"""One client's connection: between the socket and the HTTP/2 core, and the calls on it.

What one read brought is acted on and answered with one write, within the time that the door's
budget (`budget.py`) gives this connection; what is left is put off, and nothing more is read until
it is done. A socket that takes no more is not written to, nor read from, until it does: a client
that reads no answers gets to ask nothing, and what it said already is not acted on.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, cast

from rusd.base.logs import get_logger
from rusd.base.pending import Pending
from rusd.base.sockets import shown
from rusd.door import memory_budget
from rusd.door.grpc import status
from rusd.door.grpc.keepalive import Heartbeat, PingPolicy
from rusd.door.grpc.request_headers import Opening
from rusd.door.grpc.streaming import StreamCall
from rusd.door.grpc.unary import REFUSED, UnaryCall
from rusd.door.h2 import Connection, Stream
from rusd.door.h2.errors import ENHANCE_YOUR_CALM, SETTINGS_TIMEOUT
from rusd.door.http.over_h2 import PageCall, PageQueue
from rusd.door.ports import Receiver, TimedCall
from rusd.rpc.errors import Definition
from rusd.rpc.methods import Unary

if TYPE_CHECKING:
    from rusd.door.grpc.server import GrpcDoor

#: Bytes the socket may hold back before we stop.
WRITE_HIGH = 256 << 10
#: Seconds for a frame or a header block, once begun.
PATIENCE = 30.0
#: Seconds for a client to take at least some of what waits for it, if that is much.
STALLED = 60.0
MUCH = 4 << 20
#: Calls that are let in together, and seconds until the next.
AT_ONCE = 4
LOOK_AGAIN = 0.01
#: Seconds for a client to read why it is sent away.
PARTING = 1.0

log = get_logger(__name__)


class Channel(asyncio.Protocol):
    """The protocol of one connection."""

    def __init__(self, door: "GrpcDoor", used: float = 0.0) -> None:
        """`used`: what it begins with as a worker of the budget."""
        self.door = door
        self.peer = ""
        self._loop = asyncio.get_running_loop()
        #: Loop time of the last read.
        self.now = self._loop.time()
        self.connection = Connection(
            door.limits,
            door.openings,
            self._opened,
            self._pinged,
            self._wake,
            self.now,
            door.budget.spent,
            door.memory,
        )
        #: As a worker of the budget.
        self.used = used
        self.waiting = False
        #: What is to be done for this connection besides acting on what it says.
        self._deeds: deque[Callable[[], object]] = deque()
        self._transport: asyncio.Transport | None = None
        self._pings = PingPolicy(door.keepalive_min_time)
        self._heartbeat = Heartbeat(door.keepalive_interval, door.keepalive_timeout)
        self._working = False
        self._paused = False
        self._held = False
        #: Bytes that the socket does not take, and those that are not acted on.
        self._stuck = 0
        #: For how many seconds it has moved little of much, and what it had moved by then.
        self._lazy = 0
        self._moved_bytes = 0
        #: Streams whose messages of this turn are not framed yet.
        self._gathered: deque[StreamCall] = deque()
        self.pages = PageQueue(self.do)
        #: Long answers that are not made yet, of calls that still want them.
        self._crowd: OrderedDict[Pending[None], None] = OrderedDict()
        self._parting: asyncio.TimerHandle | None = None
        #: Where the output stood when it last moved, and when that was.
        self._sent = 0
        self._moved = self.now

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(WRITE_HIGH)
        self.peer = shown(transport.get_extra_info("peername"))
        self.door.channels[self] = None

    def data_received(self, data: bytes) -> None:
        self.now = self._loop.time()
        self.connection.feed(data, self.now)
        self.run()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: BaseException | None) -> None:
        self._count_stuck(0)
        self._transport = None
        self.door.channels.pop(self, None)
        self.door.memory.forget(self._let_in)
        if self._parting is not None:
            self._parting.cancel()
        self._deeds.appendleft(self.connection.lost)
        self.run()

    def pause_writing(self) -> None:
        self._held = True
        if self._transport is not None:
            self._count_stuck(self._transport.get_write_buffer_size())
        self.connection.outbound.hold(True)
        self._pause(True)

    def resume_writing(self) -> None:
        self._held = False
        self._count_stuck(0)
        self.connection.outbound.hold(False)
        self._moved = self._loop.time()
        self.run()

    # Working

    def run(self) -> None:
        """Do what there is to do, now or when it is this connection's turn."""
        self.door.budget.run(self)
        if self.waiting:
            self._pause(True)

    def do(self, deed: Callable[[], object]) -> None:
        """Do this when what runs now is done, in this connection's time."""
        self._deeds.append(deed)
        if not self._working:
            self.door.budget.put_off(self)

    def work(self) -> bool:
        """See `rusd/door/time_budget.py`."""
        connection, deeds = self.connection, self._deeds
        self._working = True
        try:
            in_time = not deeds or self._do_deeds()
            if in_time and connection.more and self._may_act:
                connection.act()
                if deeds:
                    self._do_deeds()
            if connection.outbound.in_turn:
                connection.outbound.pump()
        except Exception:
            log.exception("a connection failed", extra={"fields": {"remote-addr": self.peer}})
            self._give_up()
        finally:
            self._working = False
        self._flush()
        if deeds or (self._gathered and not self._held) or (connection.more and self._may_act):
            return True
        if connection.outbound.in_turn and connection.outbound.sendable:
            return True
        if self._paused:
            self._pause(self._held)
        return False

    @property
    def _may_act(self) -> bool:
        """Whether the client takes answers, so that what it says may be acted on."""
        return not self._held or self.connection.closed

    def _do_deeds(self) -> bool:
        """Whether there is time left after them."""
        deeds, spent = self._deeds, self.door.budget.spent
        while deeds:
            deeds.popleft()()
            if spent():
                return False
        return True

    def _give_up(self) -> None:
        self._deeds.clear()
        if self._transport is not None:
            self._transport.abort()

    def _pause(self, paused: bool) -> None:
        """Read no more, or read on."""
        transport = self._transport
        if paused != self._paused and transport is not None and not transport.is_closing():
            self._paused = paused
            if paused:
                transport.pause_reading()
            else:
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
        output = self.connection.outbound.take()
        if output and not transport.is_closing():
            transport.write(output)
            if not self._held:
                self._let_in()
        if self.connection.closed and self._parting is None:
            self._part(transport)

    def _part(self, transport: asyncio.Transport) -> None:
        """Closing while the client still writes would reset the connection, and the reason for it
        would be lost on the way; so our side is closed first."""
        self._parting = self._loop.call_later(PARTING, transport.abort)
        if transport.can_write_eof() and not transport.is_closing():
            with suppress(OSError):  # the client has just gone
                transport.write_eof()
        else:
            transport.close()

    # Calls

    def gather(self, call: StreamCall) -> None:
        """The call has messages to `flush` with the next write."""
        if not self._gathered:
            self._wake()
        self._gathered.append(call)

    def _opened(self, stream: Stream, opening: Opening, ended: bool) -> Receiver | None:
        receiver: Receiver
        method = opening.method
        if opening.refusal is not None:
            self._refuse(stream, opening)
            return REFUSED
        if isinstance(method, Unary):
            receiver = UnaryCall(self, stream, opening, method)
        elif method is not None:
            receiver = StreamCall(self, stream, opening, method)
        else:
            assert opening.page is not None and self.door.pages is not None
            receiver = PageCall(self, stream, self.door.pages, opening.page)
        if ended:
            receiver.data(b"", True)
        return receiver

    def _refuse(self, stream: Stream, opening: Opening) -> None:
        error = cast(Definition, opening.refusal)
        method = opening.method
        counts = self.door.unknown_calls if method is None else method.counts
        counts.finish(error.code)
        if opening.status == 200:
            stream.end(status.alone(error.code, error.message))
        else:
            stream.end(status.plain(opening.status, error))

    def lacks_room(self) -> bool:
        """Whether this connection must not hold more answers than it does."""
        return self.door.memory.lacks(self.connection.outbound.queued + self._stuck)

    def room(self) -> Pending[None] | None:
        """None while what waits for this client is not too much; else a long answer is made only
        when this resolves. To be cancelled if nobody wants it any more."""
        lacks = self.lacks_room()
        if self.connection.outbound.queued <= MUCH and not lacks:
            return None
        waiting: Pending[None] = Pending()
        self._crowd[waiting] = None
        waiting.add_done_callback(self._leave)
        if lacks:
            self.door.memory.wait(self._let_in)
        return waiting

    def _leave(self, waiting: Pending[None]) -> None:
        self._crowd.pop(waiting, None)

    def _let_in(self) -> None:
        """Some of those who waited for room may look again: not all at once, for each makes its
        answer before any of them is queued."""
        if self._crowd and self.lacks_room():
            self.door.memory.wait(self._let_in)
        elif self._crowd and self.connection.outbound.queued <= MUCH:
            for _ in range(min(AT_ONCE, len(self._crowd))):
                self._crowd.popitem(last=False)[0].set_result(None)
            # (Their calls may be over, and bring about no write after which to look again.)
            self._loop.call_later(LOOK_AGAIN, self._let_in)

    def _pinged(self) -> bool:
        connection = self.connection
        excused, connection.outbound.busy = connection.outbound.busy, False
        return self._pings.allows(self.now, excused=excused)

    # Memory

    def _count_stuck(self, size: int) -> None:
        self.door.memory.add(size - self._stuck)
        self._stuck = size

    @property
    def offence(self) -> int:
        """Bytes that this client makes the member hold to nobody's benefit."""
        connection = self.connection
        return (
            connection.outbound.queued
            + self._stuck
            + connection.inbound.kept
            - connection.inbound.processing
        )

    @property
    def overhead(self) -> int:
        """Bytes of its streams and headers, as far as they are counted."""
        return self.connection.inbound.overhead

    @property
    def claim(self) -> int:
        """The same with what is reserved for it, without what it is told to wait with."""
        return self.offence + self.connection.inbound.outstanding - self.connection.inbound.delayed

    def lazy(self) -> bool:
        """Asked once a second while memory is wanted: whether the client has held much and moved
        little of it for some time."""
        moved = self.connection.outbound.sent + self.connection.inbound.collected
        held = self.claim
        busy = (moved - self._moved_bytes) * memory_budget.MOVED_PART >= held
        self._moved_bytes = moved
        self._lazy = 0 if busy or not held else self._lazy + 1
        return self._lazy > memory_budget.PATIENCE

    def cut_off(self) -> None:
        """Free what the client makes the member hold, now."""
        self.connection.fail(ENHANCE_YOUR_CALM, "member out of memory for clients")
        # (If it had failed before, some of its streams may wait for their turn to be ended.)
        self.connection.lost()
        self._count_stuck(0)
        if self._transport is not None:
            self._transport.abort()

    # Time

    def expire(self, calls: dict[TimedCall, None]) -> None:
        """The deadline of these calls has passed."""
        self.do(partial(self._expire, calls))

    def _expire(self, calls: dict[TimedCall, None]) -> None:
        while calls:
            calls.popitem()[0].expired()
            if self.door.budget.spent():
                self.do(partial(self._expire, calls))
                return

    def sweep(self, now: float) -> None:
        """A second has passed: is the client still there, and does it get on?"""
        connection = self.connection
        if connection.closed:
            if self._held and self._transport is not None:
                self._transport.abort()  # why it ends cannot be written
            return
        if self._transport is not None:
            # (A transport does not say that it holds something below its mark.)
            self._count_stuck(self._transport.get_write_buffer_size() + connection.unread)
        late = now - connection.began > PATIENCE and not connection.more
        narrowing = connection.inbound.narrowing
        if narrowing is not None and now - narrowing > PATIENCE:
            self.do(partial(connection.fail, SETTINGS_TIMEOUT, "SETTINGS not acknowledged"))
        elif late and connection.unfinished:
            self.do(partial(connection.fail, ENHANCE_YOUR_CALM, "a frame that never ends"))
        elif self._stalled(now) or self._heartbeat.dead(now, self.now):
            if self._transport is not None:
                self._transport.abort()
        elif self._heartbeat.due(now, self.now):
            connection.ping(b"rusd ok?")

    def _stalled(self, now: float) -> bool:
        waits = self._held or self.connection.outbound.queued > MUCH
        if not waits or self.connection.outbound.sent != self._sent:
            self._sent, self._moved = self.connection.outbound.sent, now
        return now - self._moved > STALLED

    # Ends

    def drain(self) -> None:
        """Take no more calls."""
        self.connection.drain()
        self._flush()

    def close(self) -> None:
        """End everything now."""
        self.connection.fail(0, "server stopped")
        self._flush()
        if self._transport is not None:
            self._transport.close()

    @property
    def idle(self) -> bool:
        """Whether no call is under way, and everything is written."""
        sent = self._transport is None or not self._transport.get_write_buffer_size()
        return not self.connection.streams and sent
