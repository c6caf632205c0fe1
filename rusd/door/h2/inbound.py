"""The receive side of a connection: windows, and the bytes of requests that are buffered.

A stream begins with a small window. A message that needs more gets a reservation: a WINDOW_UPDATE
for the rest of this message and nothing else. Reservations are granted at once while the messages
that have one stay within `Limits.kept`, else in order. One is always granted: whatever other
streams have half sent, one message can be completed, so that no two messages wait for each other.
A reservation ends when its message needs no more memory.

    data ─▶ keep ─▶ needs(missing) ─▶ [queue of reservations] ─▶ reserved ─▶ consumed

The window of the connection is given back at once: a single window for all streams could not let a
reserved message pass those that wait. Streams without a reservation may hold one window each; when
together they hold more than `Limits.kept`, SETTINGS narrows the window of every stream, and the
connection's window is withheld until the client has acknowledged. A connection therefore buffers at
most twice `Limits.kept`, one window of the connection, and `NARROW` bytes for each open stream.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from rusd.door.h2 import frames
from rusd.door.h2.states import MAY_RECEIVE
from rusd.door.h2.stream import Stream
from rusd.door.ports import Ledger

#: A stream's window while the connection is narrow: room for a prefix and a small request.
NARROW = 1 << 10
#: Bytes that streams of one connection may hold without a reservation while memory is tight.
TIGHT = 512 << 10


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of the server for one client."""

    #: Streams at once; 2^32 - 1: not announced, but bounded by `streams_at_most`.
    max_streams: int = frames.UNLIMITED
    #: Bound for the memory of open streams, whatever is announced.
    streams_at_most: int = 1 << 16
    #: Bytes a client may send ahead on one stream, and on all of them together.
    stream_window: int = 64 << 10
    connection_window: int = 1 << 20
    #: Bytes of messages with a reservation at a time, and of those without.
    kept: int = 16 << 20
    #: Bytes of one header list: as Go's HTTP server announces (1 MiB, and 10 fields' overhead).
    header_list: int = (1 << 20) + 320


class Unlimited:
    """A ledger without a limit."""

    tight = False

    def add(self, size: int) -> None:
        """Counts nothing."""

    def add_overhead(self, size: int) -> None:
        """Counts nothing."""

    def reserve(self, count: int, size: int) -> None:
        """Counts nothing."""

    def may_reserve(self, size: int, retry: Callable[[], None]) -> bool:
        return True

    def forget(self, retry: Callable[[], None]) -> None:
        """Does nothing: no call waits."""


class Inbound:
    """Flow control of received data."""

    def __init__(
        self,
        limits: Limits,
        streams: dict[int, Stream],
        emit: Callable[[bytes], None],
        clock: Callable[[], float],
        ledger: Ledger,
    ) -> None:
        """`streams`: the open ones, owned by the stream table.

        `emit` writes a frame. `clock`: seconds at the latest read. `ledger` counts the bytes that
        are buffered.
        """
        self._limits = limits
        self._streams = streams
        self._emit = emit
        self._clock = clock
        self.ledger = ledger
        self._receive_window = limits.connection_window
        #: The window of a stream that opens now.
        self.initial_window = limits.stream_window
        #: Bytes of requests: buffered now, buffered ever, and those of requests in service.
        self.kept = 0
        self.collected = 0
        self.processing = 0
        #: Bytes of streams and their headers, where they are many or large, of header blocks that
        #: are cached, and of the one under way.
        self.overhead = 0
        #: Bytes buffered without a reservation, and of messages that have one.
        self._unreserved = 0
        self._reserved = 0
        #: Bytes that reserved messages have yet to receive.
        self.outstanding = 0
        # (Ordered: to find the first of a plain dict takes longer the more came before it.)
        self._queue: OrderedDict[Stream, None] = OrderedDict()
        #: Initial windows announced and not acknowledged; 0: SETTINGS that change nothing here.
        self._announced: deque[int] = deque((0,))
        self._is_narrow = False
        #: Since when the acknowledgement of a narrow window is due; None if none is.
        self.narrowing: float | None = None

    # Calls of receivers, through their streams

    def keep(self, stream: Stream, size: int) -> None:
        stream.kept += size
        self.kept += size
        self.collected += size
        self.ledger.add(size)
        if stream.reserved:
            self._expect(stream, max(stream.outstanding - size, 0))
        else:
            self._unreserved += size
            if self._unreserved > (TIGHT if self.ledger.tight else self._limits.kept):
                self.narrow()

    def needs(self, stream: Stream, missing: int) -> None:
        stream.missing = missing
        if missing <= stream.receive_window:
            return
        if stream.reserved:
            self._raise(stream, missing)  # padding has used it up
        elif stream not in self._queue:
            self._queue[stream] = None
            self._grant()

    def process(self, stream: Stream) -> None:
        stream.missing = 0
        self.processing += stream.kept - stream.processing
        stream.processing = stream.kept

    def consumed(self, stream: Stream, size: int) -> None:
        self._let_go(stream, min(size, stream.kept))
        if MAY_RECEIVE[stream.state]:
            self._give_back_of(stream)
        self._relax()

    def passed(self, stream: Stream, size: int) -> None:
        self.collected += size
        self._give_back_of(stream)

    def _give_back_of(self, stream: Stream) -> None:
        # One update for half a window: what has been read is given back in big pieces.
        owed = self.initial_window - stream.kept - stream.receive_window
        if 2 * owed >= self.initial_window:
            stream.receive_window += owed
            self._emit(frames.window_update(stream.id, owed))

    def count_overhead(self, size: int) -> None:
        self.overhead += size
        self.ledger.add_overhead(size)

    def release(self, stream: Stream) -> None:
        """Release everything held for the request of a stream that has ended."""
        if stream.overhead:
            self.count_overhead(-stream.overhead)
            stream.overhead = 0
        if stream.kept or stream.reserved or stream.missing:
            self._queue.pop(stream, None)
            self._let_go(stream, stream.kept)
            self._relax()

    def lost(self) -> None:
        """The connection has ended."""
        self.ledger.forget(self._grant)

    def _let_go(self, stream: Stream, size: int) -> None:
        self.kept -= size
        self.ledger.add(-size)
        self.processing -= stream.processing
        stream.processing = stream.missing = 0
        if stream.reserved:
            self._reserved -= stream.reserved
            self._expect(stream, 0)
            self.ledger.reserve(-1, 0)
            self._unreserved += stream.kept
            stream.reserved = 0
        self._unreserved -= size
        stream.kept -= size

    # Reservations

    def _grant(self) -> None:
        """Grant reservations in order while there is room."""
        while self._queue:
            stream = next(iter(self._queue))
            if not stream.missing:
                del self._queue[stream]
                continue
            size = stream.kept + stream.missing
            if self._reserved and self._reserved + size > self._limits.kept:
                return
            if not self.ledger.may_reserve(stream.missing, self._grant):
                return
            del self._queue[stream]
            self._reserved += size
            self.ledger.reserve(1, 0)
            self._expect(stream, stream.missing)
            self._unreserved -= stream.kept
            stream.reserved = size
            if stream.missing > stream.receive_window:
                self._raise(stream, stream.missing)

    def _expect(self, stream: Stream, due: int) -> None:
        """Record that the stream has `due` bytes of its reservation yet to receive."""
        self.ledger.reserve(0, due - stream.outstanding)
        self.outstanding += due - stream.outstanding
        stream.outstanding = due

    def _relax(self) -> None:
        """Grant reservations, or widen the windows again, after bytes were released."""
        if self._queue:
            self._grant()
        elif self._is_narrow and self.narrowing is None and self.kept < self._limits.kept // 2:
            self._is_narrow = False
            self._announced.append(0)
            self._change_windows(self._limits.stream_window)
            self._emit(frames.settings({frames.INITIAL_WINDOW_SIZE: self._limits.stream_window}))

    def _raise(self, stream: Stream, window: int) -> None:
        self._emit(frames.window_update(stream.id, window - stream.receive_window))
        stream.receive_window = window

    @property
    def delayed(self) -> int:
        """Buffered bytes of messages that wait for a reservation."""
        return sum(stream.kept for stream in self._queue)

    # Windows of all streams

    def narrow(self) -> None:
        """Narrow the window of streams without a reservation to `NARROW` bytes."""
        window = min(NARROW, self._limits.stream_window)
        if not self._is_narrow:
            self._is_narrow = True
            self.narrowing = self._clock()
            self._announced.append(window)
            self._emit(frames.settings({frames.INITIAL_WINDOW_SIZE: window}))

    def acknowledged(self) -> bool:
        """Handle the acknowledgement of the oldest SETTINGS; False if none were unacknowledged."""
        if not self._announced:
            return False
        window = self._announced.popleft()
        if window:
            self._change_windows(window)
            self.narrowing = None
            for stream in self._streams.values():
                self._top_up(stream)
            self._give_back()
            self._relax()
        return True

    def _change_windows(self, initial: int) -> None:
        change = initial - self.initial_window
        self.initial_window = initial
        for stream in self._streams.values():
            stream.receive_window += change

    def _top_up(self, stream: Stream) -> None:
        """Raise a narrow window to the bytes that the stream's message lacks."""
        if stream.reserved:
            if stream.receive_window < stream.missing:
                self._raise(stream, stream.missing)
        elif stream.missing > stream.receive_window:
            self._queue[stream] = None
        elif not stream.kept and MAY_RECEIVE[stream.state]:
            short = stream.receive_window < self.initial_window
            if short:
                self._raise(stream, self.initial_window)

    def take_window(self, size: int) -> bool:
        """Count `size` bytes of DATA against the connection's window; False if it is exceeded."""
        self._receive_window -= size
        if self._receive_window < 0:
            return False
        if 2 * self._receive_window < self._limits.connection_window:
            self._give_back()
        return True

    def _give_back(self) -> None:
        owed = self._limits.connection_window - self._receive_window
        if owed and self.narrowing is None:
            self._receive_window += owed
            self._emit(frames.window_update(0, owed))
