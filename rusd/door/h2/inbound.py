"""What the peer may send: flow control, and the bytes of bodies that are kept.

A stream begins with a small window. When its receiver finds a message that needs more, the stream
asks; it is promised the rest of that message at once while the promises of the connection stay
within `Limits.kept`, else in its turn. A promise is a WINDOW_UPDATE that cannot be used for
anything else, and there is always at least one: whatever the other streams have half sent, one
message can be completed, so nothing waits for ever. A promise ends when its message needs no more
memory.

    data ─▶ keep ─▶ wants(missing) ─▶ [asking, in order] ─▶ promised ─▶ consumed

The window of the connection is given back at once, since one window for all streams cannot let a
promised message pass those that only wait. Streams without a promise may hold a window each; when
they hold more than `Limits.kept` together, the window of every stream is narrowed by SETTINGS, and
the connection's is withheld until the peer has acknowledged. So a connection makes us keep at most
twice `Limits.kept`, a window of the connection, and a few bytes for each open stream.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from rusd.door.h2 import frames
from rusd.door.h2.outbound import Outbound
from rusd.door.h2.stream import Stream

#: A stream's window while the connection is narrow: room for a prefix and a small request.
NARROW = 1 << 10
#: Bytes that streams of one connection may hold without a promise while memory is tight.
TIGHT = 512 << 10


@dataclass(frozen=True, slots=True)
class Limits:
    """What this side allows its peer."""

    #: Streams at once; 2^32 - 1: not announced, but bounded by `streams_at_most`.
    max_streams: int = frames.UNLIMITED
    #: A bound for the memory that open streams cost, whatever is announced.
    streams_at_most: int = 1 << 16
    #: Bytes a client may send ahead on one stream, and on all of them together.
    stream_window: int = 64 << 10
    connection_window: int = 1 << 20
    #: Bytes of messages that are promised at a time, and of those that are not.
    kept: int = 16 << 20
    #: Bytes of one header list.
    header_list: int = 64 << 10


class Ledger(Protocol):
    """Where bytes are counted that peers make this side keep."""

    @property
    def tight(self) -> bool:
        """Whether streams without a promise should send little."""

    def add(self, size: int) -> None:
        """So many more, or fewer."""

    def carry(self, size: int) -> None:
        """So many more, or fewer, that are no part of bodies."""

    def promise(self, count: int, size: int) -> None:
        """So many more messages are promised, and bytes of theirs expected; or fewer."""

    def allows(self, size: int, later: Callable[[], None]) -> bool:
        """Whether a message that lacks `size` bytes may be promised; if not, `later` is called once
        when it may."""

    def forget(self, later: Callable[[], None]) -> None:
        """`later` is not to be called any more."""


class Unlimited:
    """A ledger that nobody looks at."""

    tight = False

    def add(self, size: int) -> None:
        """Not counted."""

    def carry(self, size: int) -> None:
        """Not counted."""

    def promise(self, count: int, size: int) -> None:
        """Not counted."""

    def allows(self, size: int, later: Callable[[], None]) -> bool:
        return True

    def forget(self, later: Callable[[], None]) -> None:
        """It never is."""


class Inbound(Outbound):
    """The reading half of a connection's flow control."""

    def __init__(
        self, wake: Callable[[], None], limits: Limits, ledger: Ledger, now: float
    ) -> None:
        super().__init__(wake, ledger, now)
        self._limits = limits
        self._now = now
        self._receive_window = limits.connection_window
        #: The window of a stream that opens now.
        self._initial_receive_window = limits.stream_window
        #: Bytes of bodies that receivers keep; in all, ever; of requests that are worked on.
        self.kept = 0
        self.collected = 0
        #: Bytes of streams and their headers, where they are many or large, of header blocks that
        #: are remembered, and of one that is under way.
        self.carried = 0
        self.working = 0
        #: Bytes kept for streams without a promise; of messages that are promised.
        self._loose = 0
        self._promises = 0
        #: Bytes of promised messages that have yet to come.
        self.expected = 0
        # (Ordered: to find the first of a plain dict takes longer the more came before it.)
        self._asking: OrderedDict[Stream, None] = OrderedDict()
        #: Initial windows that the peer has not acknowledged; 0: nothing changes by that.
        self._announced: deque[int] = deque()
        self._is_narrow = False
        #: Since when an acknowledgement is awaited that the window depends on; None: it is not.
        self.narrowing: float | None = None

    # The receivers' side

    def keep(self, stream: Stream, size: int) -> None:
        stream.kept += size
        self.kept += size
        self.collected += size
        self.ledger.add(size)
        if stream.promised:
            self._expect(stream, max(stream.due - size, 0))
        else:
            self._loose += size
            if self._loose > (TIGHT if self.ledger.tight else self._limits.kept):
                self.narrow()

    def wants(self, stream: Stream, missing: int) -> None:
        stream.wanted = missing
        if missing <= stream.receive_window:
            return
        if stream.promised:
            self._raise(stream, missing)  # padding has used it up
        elif stream not in self._asking:
            self._asking[stream] = None
            self._grant()

    def works(self, stream: Stream) -> None:
        stream.wanted = 0
        self.working += stream.kept - stream.working
        stream.working = stream.kept

    def consumed(self, stream: Stream, size: int) -> None:
        self._let_go(stream, min(size, stream.kept))
        if stream.remote_open:
            # One update for half a window: what has been read is given back in big pieces.
            owed = self._initial_receive_window - stream.kept - stream.receive_window
            if 2 * owed >= self._initial_receive_window:
                stream.receive_window += owed
                self.emit(frames.window_update(stream.id, owed))
        self._relax()

    def carry(self, size: int) -> None:
        self.carried += size
        self.ledger.carry(size)

    def forget(self, stream: Stream) -> None:
        super().forget(stream)
        if stream.weight:
            self.carry(-stream.weight)
            stream.weight = 0
        if stream.kept or stream.promised or stream.wanted:
            self._asking.pop(stream, None)
            self._let_go(stream, stream.kept)
            self._relax()

    def _let_go(self, stream: Stream, size: int) -> None:
        self.kept -= size
        self.ledger.add(-size)
        self.working -= stream.working
        stream.working = stream.wanted = 0
        if stream.promised:
            self._promises -= stream.promised
            self._expect(stream, 0)
            self.ledger.promise(-1, 0)
            self._loose += stream.kept
            stream.promised = 0
        self._loose -= size
        stream.kept -= size

    # Promises

    def _grant(self) -> None:
        """Promise as much as there is room for."""
        while self._asking:
            stream = next(iter(self._asking))
            if not stream.wanted:
                del self._asking[stream]
                continue
            size = stream.kept + stream.wanted
            if self._promises and self._promises + size > self._limits.kept:
                return
            if not self.ledger.allows(stream.wanted, self._grant):
                return
            del self._asking[stream]
            self._promises += size
            self.ledger.promise(1, 0)
            self._expect(stream, stream.wanted)
            self._loose -= stream.kept
            stream.promised = size
            if stream.wanted > stream.receive_window:
                self._raise(stream, stream.wanted)

    def _expect(self, stream: Stream, due: int) -> None:
        """The stream has so many bytes of its promise yet to send."""
        self.ledger.promise(0, due - stream.due)
        self.expected += due - stream.due
        stream.due = due

    def _relax(self) -> None:
        """There may be room again."""
        if self._asking:
            self._grant()
        elif self._is_narrow and self.narrowing is None and self.kept < self._limits.kept // 2:
            self._is_narrow = False
            self._announced.append(0)
            self._change_windows(self._limits.stream_window)
            self.emit(frames.settings({frames.INITIAL_WINDOW_SIZE: self._limits.stream_window}))

    def _raise(self, stream: Stream, window: int) -> None:
        self.emit(frames.window_update(stream.id, window - stream.receive_window))
        stream.receive_window = window

    @property
    def delayed(self) -> int:
        """Bytes of messages whose rest the peer may not send yet."""
        return sum(stream.kept for stream in self._asking)

    # Windows of all streams

    def narrow(self) -> None:
        """Let streams that were promised nothing send hardly anything more."""
        window = min(NARROW, self._limits.stream_window)
        if not self._is_narrow:
            self._is_narrow = True
            self.narrowing = self._now
            self._announced.append(window)
            self.emit(frames.settings({frames.INITIAL_WINDOW_SIZE: window}))

    def acknowledged(self) -> bool:
        """The peer knows the oldest of the SETTINGS that it had not acknowledged; False if there
        are none."""
        if not self._announced:
            return False
        window = self._announced.popleft()
        if window:
            self._change_windows(window)
            self.narrowing = None
            for stream in self.streams.values():
                self._top_up(stream)
            self._give_back()
            self._relax()
        return True

    def _change_windows(self, initial: int) -> None:
        change = initial - self._initial_receive_window
        self._initial_receive_window = initial
        for stream in self.streams.values():
            stream.receive_window += change

    def _top_up(self, stream: Stream) -> None:
        """What a stream needs of its window now that it is narrow."""
        if stream.promised:
            if stream.receive_window < stream.wanted:
                self._raise(stream, stream.wanted)
        elif stream.wanted > stream.receive_window:
            self._asking[stream] = None
        elif not stream.kept and stream.remote_open:
            short = stream.receive_window < self._initial_receive_window
            if short:
                self._raise(stream, self._initial_receive_window)

    def _take_window(self, size: int) -> bool:
        """The peer sent `size` bytes; whether it might."""
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
            self.emit(frames.window_update(0, owed))
