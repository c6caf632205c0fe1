"""The server's end of one HTTP/2 connection (RFC 9113), without a socket.

    bytes ─▶ feed ─▶ act ─▶ whole frames ─┬─ the connection's own: here
                                          └─ of streams: requests.py ─▶ Receiver
    bytes ◀─ take ◀─ outbound.py ◀─ Stream

Half a frame waits for its rest. What a frame means for a stream is told to the stream's receiver at
once. A stream error resets its stream; a connection error ends the connection with GOAWAY, after
which nothing more is read. What is legal in which state stands in `states.py`.

Cost. n bytes of input cost O(n), however many streams are open and whatever waits on them, and the
work of the calls they complete. `spent` is asked after every frame: the rest of a read waits when
the time of the owner is over. Frames that do no work are counted and end with ENHANCE_YOUR_CALM
(`rate_limit.py`; overhead: 10,000 and 1,000 a second, answers earn more).

    frame          work                                           counted as
    DATA           its bytes, to the receiver                     overhead if empty, padded, or late
    HEADERS        its bytes and fields, a call                   resets if refused or malformed,
                                                                  overhead if late
    CONTINUATION   its bytes; a block is bounded by header_list   overhead if short
    PRIORITY       none                                           overhead
    RST_STREAM     the end of one call                            resets: 1,000 and 100 a second,
                                                                  if the stream is younger than 1 s
    SETTINGS       6 bytes an entry, O(1) each; one look at       100 and 1 a second; overhead for
                   every stream that waits for its own window     looks that nothing was sent after
                   if the initial window is raised
      its ACK      none                                           overhead unless one was due
    PUSH_PROMISE   ends the connection
    PING           an answer of 17 bytes                          overhead, and PingPolicy
    GOAWAY         none                                           overhead
    WINDOW_UPDATE  one look at its stream, one frame of data      overhead
                   for each stream that has its turn
    unknown        none                                           overhead

What is sent in answer to frames (acknowledgements, resets) is bounded by the owner, which acts on
none while the socket takes nothing.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

from rusd.door.h2 import frames, settings
from rusd.door.h2.errors import (
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    NO_ERROR,
    PROTOCOL_ERROR,
    H2ConnectionError,
    H2StreamError,
)
from rusd.door.h2.frames import ACK, END_HEADERS, HEAD_SIZE, HEADERS, LARGEST_WINDOW
from rusd.door.h2.header_block import SMALL_PIECE, HeaderBlock, fragment
from rusd.door.h2.headers import HeaderReader, Request
from rusd.door.h2.inbound import Inbound, Limits, Unlimited
from rusd.door.h2.outbound import Outbound
from rusd.door.h2.rate_limit import FrameLimits
from rusd.door.h2.requests import Requests
from rusd.door.h2.states import CONNECTION, ConnectionEvent, ConnectionState, fail
from rusd.door.h2.stream import Stream
from rusd.door.h2.stream_table import StreamTable
from rusd.door.ports import Ledger, Receiver, RequestMeaning

T = TypeVar("T", bound=RequestMeaning)

#: States in which a frame or a block must follow, so that a client has a limited time for it.
_UNFINISHED = tuple(
    state
    in (
        ConnectionState.PREFACE,
        ConnectionState.SETTINGS,
        ConnectionState.OPEN_BLOCK,
        ConnectionState.GOING_AWAY_BLOCK,
    )
    for state in ConnectionState
)
_NEW_STREAM, _UNKNOWN = ConnectionEvent.NEW_STREAM, ConnectionEvent.RECV_UNKNOWN
_PREFACE = ConnectionState.PREFACE
_CLOSED = ConnectionState.CLOSED
_IN_BLOCK = (ConnectionState.OPEN_BLOCK, ConnectionState.GOING_AWAY_BLOCK)


class Connection(Generic[T]):
    """See the module. `T` is what `interpret` makes of a request's headers."""

    def __init__(
        self,
        limits: Limits,
        interpret: Callable[[Request], T],
        opened: Callable[[Stream, T, bool], Receiver | None],
        pinged: Callable[[], bool],
        wake: Callable[[], None],
        now: float,
        spent: Callable[[], bool] = lambda: False,
        ledger: Ledger | None = None,
    ) -> None:
        """`interpret`: see HeaderReader; Malformed resets the stream.

        `opened` (stream, meaning, whether the request has no body) returns the stream's receiver;
        None if it has answered already. `pinged`: whether the client may ping as often as it does.
        `now`: seconds of any clock, as for `receive`. `spent`: whether the owner's time is over.
        `ledger` counts the bytes that are held.
        """
        self.state = ConnectionState.PREFACE
        self._row = CONNECTION[self.state]
        self._pinged = pinged
        self._spent = spent
        self._rates = FrameLimits(now)
        ledger = ledger or Unlimited()
        self._table = StreamTable()
        #: The open streams, by number.
        self.streams = self._table.open
        # The parts of a connection, and every hook between them.
        reader = self._reader = HeaderReader(limits.header_list, interpret)
        requests = Requests(limits, reader, opened, self._table, self._rates)
        self.outbound = Outbound(
            wake, requests.server_ended, requests.server_reset, self._rates, ledger
        )
        self.inbound = Inbound(limits, self.streams, self.outbound.emit, self._now, ledger)
        requests.connect(self.inbound, self.outbound)
        self._requests = requests
        self._emit = self.outbound.emit
        self._count_overhead = self._rates.count_overhead
        self._block = HeaderBlock(limits.header_list)
        self._block_bytes = 0
        self._unread = b""
        #: True while there is something to `act` on, because the owner's time was spent.
        self.more = False
        #: When the frame or header block that is under way, if any is, began to come.
        self.began = now
        #: The code and text with which this server ended the connection; None if it did not.
        self.failure: tuple[int, str] | None = None
        self._preface = settings.server_preface(limits)
        #: By the type of the frame.
        self._handlers = (
            requests.data,
            self._headers,
            self._priority,
            self._rst_stream,
            self._settings,
            self._push_promise,
            self._ping,
            self._goaway,
            self._window_update,
            self._continuation,
            self._unknown,
        )

    def _now(self) -> float:
        return self._rates.now

    @property
    def closed(self) -> bool:
        """Whether the connection has ended: nothing is read or written any more."""
        return self.state is _CLOSED

    def _step(self, event: ConnectionEvent) -> None:
        """Move to the next state, or raise the error of the table."""
        after = CONNECTION[self.state][event]
        if not isinstance(after, ConnectionState):
            fail(after)
        self.state = after
        self._row = CONNECTION[after]

    # Reading

    def receive(self, data: bytes, now: float) -> None:
        """Parse the bytes that arrived at `now` (seconds) and process them. Never raises for input
        of a client.
        """
        self.feed(data, now)
        self.act()

    def feed(self, data: bytes, now: float) -> None:
        """Buffer the bytes that arrived at `now` (seconds)."""
        if not self.closed:
            self._rates.now = now
            if self._unread:
                self._unread += data
            else:
                self._unread = data
                if self.state not in _IN_BLOCK:
                    self.began = now
            self.more = True

    def act(self) -> None:
        """Process buffered bytes, at least one frame, until the owner's time is spent; `more` tells
        whether input is left.
        """
        if self.closed:
            self._wind_up()
            return
        self.more = False
        try:
            self._read_frames()
        except H2ConnectionError as error:
            self.fail(error.code, error.text)

    def _read_frames(self) -> None:
        data = self._unread
        position = self._read_preface(data) if self.state is _PREFACE else 0
        end = len(data) if self.state is not _PREFACE else 0
        unpack, handlers, spent = frames.HEAD.unpack_from, self._handlers, self._spent
        reader = self._reader
        while end - position >= HEAD_SIZE:
            high, low, kind, flags, ident = unpack(data, position)
            start = position + HEAD_SIZE
            stop = start + (high << 8 | low)
            if stop - start > frames.DEFAULT_FRAME:
                raise H2ConnectionError(FRAME_SIZE_ERROR, "frame too large")
            if stop > end:
                break
            position = stop
            if kind > _UNKNOWN:
                kind = _UNKNOWN
            if self._row[kind] is not self.state:
                self._change(kind, flags)
            try:
                handlers[kind](flags, ident & LARGEST_WINDOW, data[start:stop])
            except H2StreamError as error:
                self._reset(error)
            # (Headers that are cached cost no time, and their body follows.)
            if (kind != HEADERS or flags != END_HEADERS or reader.weight) and spent():
                self.more = end - position >= HEAD_SIZE
                break
        if position and not self.closed:
            self._unread = data[position:]
            if self.state not in _IN_BLOCK:
                self.began = self._rates.now

    @property
    def unread(self) -> int:
        """Bytes received and not processed."""
        return len(self._unread)

    @property
    def unfinished(self) -> bool:
        """Whether a frame or a header block has begun and not ended, or SETTINGS is due."""
        return bool(self._unread) or _UNFINISHED[self.state]

    def _read_preface(self, data: bytes) -> int:
        """Check the client's preface; return the bytes consumed: all of it or none."""
        if len(data) < len(frames.PREFACE) and frames.PREFACE.startswith(data):
            return 0
        if not data.startswith(frames.PREFACE):
            self._step(ConnectionEvent.RECV_DATA)
        self._step(ConnectionEvent.RECV_PREFACE)
        self._emit(self._preface)
        return len(frames.PREFACE)

    def _change(self, kind: int, flags: int) -> None:
        """Handle a frame that changes the state of the connection, or is an error in it."""
        if kind == frames.SETTINGS and flags & ACK:
            kind = ConnectionEvent.RECV_SETTINGS_ACK
        self._step(ConnectionEvent(kind))

    # Frames of streams

    def _headers(self, flags: int, ident: int, payload: bytes) -> None:
        if not ident & 1:
            raise H2ConnectionError(PROTOCOL_ERROR, "HEADERS on a server's stream")
        if flags & (frames.PADDED | frames.PRIORITIZED):
            payload = fragment(flags, ident, payload)
        if flags & END_HEADERS:
            self._requests.block(flags, ident, payload, self._row[_NEW_STREAM] is self.state)
        else:
            self._step(ConnectionEvent.BLOCK_BEGINS)
            self._block.begin(ident, flags, payload)
            self._feed_block(payload)

    def _continuation(self, flags: int, ident: int, payload: bytes) -> None:
        if ident != self._block.stream:
            raise H2ConnectionError(PROTOCOL_ERROR, "CONTINUATION of nothing")
        if len(payload) < SMALL_PIECE and not flags & END_HEADERS:
            self._count_overhead()
        self._block.add(payload)
        if flags & END_HEADERS:
            self._step(ConnectionEvent.BLOCK_ENDS)
            self._count_block(0)
            accepted = self._row[_NEW_STREAM] is self.state
            self._requests.block(self._block.flags, ident, payload, accepted)
        else:
            self._feed_block(payload)

    def _feed_block(self, piece: bytes) -> None:
        self._reader.feed(piece)
        self._count_block(self._reader.part)

    def _count_block(self, size: int) -> None:
        """Count so many bytes for the block under way."""
        self.inbound.count_overhead(size - self._block_bytes)
        self._block_bytes = size

    def _rst_stream(self, flags: int, ident: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise H2ConnectionError(FRAME_SIZE_ERROR, "RST_STREAM of another size than 4")
        self._requests.rst_stream(ident)

    def _priority(self, flags: int, ident: int, payload: bytes) -> None:
        """Ignore a PRIORITY frame (5.3.2); legal in every state of its stream."""
        if ident == 0:
            raise H2ConnectionError(PROTOCOL_ERROR, "PRIORITY without a stream")
        self._count_overhead()
        if len(payload) != 5:
            raise H2StreamError(ident, FRAME_SIZE_ERROR)
        if frames.number(payload) & LARGEST_WINDOW == ident:
            raise H2StreamError(ident, PROTOCOL_ERROR)

    def _reset(self, error: H2StreamError) -> None:
        """Answer a stream error."""
        self._rates.count_reset()
        self._emit(frames.reset(error.stream, error.code))
        stream = self._requests.reset_sent(error.stream)
        if stream is not None:
            self._requests.abort(stream)

    # Frames of the connection

    def _unknown(self, flags: int, ident: int, payload: bytes) -> None:
        """Discard a frame of a type that the RFC does not define (4.1)."""
        self._count_overhead()

    def _settings(self, flags: int, ident: int, payload: bytes) -> None:
        if ident:
            raise H2ConnectionError(PROTOCOL_ERROR, "SETTINGS on a stream")
        if flags & ACK:
            if payload:
                raise H2ConnectionError(FRAME_SIZE_ERROR, "SETTINGS acknowledged with a payload")
            if not self.inbound.acknowledged():
                self._count_overhead()
            return
        self._rates.count_settings()
        settings.apply(payload, self.outbound)
        self._emit(frames.SETTINGS_ACK)
        self.outbound.pump()

    def _push_promise(self, flags: int, ident: int, payload: bytes) -> None:
        """Never called: PUSH_PROMISE is an error in every state."""

    def _ping(self, flags: int, ident: int, payload: bytes) -> None:
        if ident:
            raise H2ConnectionError(PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            raise H2ConnectionError(FRAME_SIZE_ERROR, "PING of another size than 8")
        self._count_overhead()
        if flags & ACK:
            return
        self._emit(frames.frame(frames.PING, ACK, 0, payload))
        if not self._pinged():
            raise H2ConnectionError(ENHANCE_YOUR_CALM, "too_many_pings")

    def _goaway(self, flags: int, ident: int, payload: bytes) -> None:
        if ident:
            raise H2ConnectionError(PROTOCOL_ERROR, "GOAWAY on a stream")
        if len(payload) < 8:
            raise H2ConnectionError(FRAME_SIZE_ERROR, "GOAWAY too short")
        # The client opens no more streams; it closes the connection when it has its answers.
        self._count_overhead()

    def _window_update(self, flags: int, ident: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise H2ConnectionError(FRAME_SIZE_ERROR, "WINDOW_UPDATE of another size than 4")
        increment = frames.number(payload) & LARGEST_WINDOW
        if ident == 0:
            self._count_overhead()
            if increment == 0:
                raise H2ConnectionError(PROTOCOL_ERROR, "window raised by nothing")
            self.outbound.window += increment
            if self.outbound.window > LARGEST_WINDOW:
                raise H2ConnectionError(FLOW_CONTROL_ERROR, "window too large")
        else:
            self._requests.window_update(ident, increment)
        if self.outbound.in_turn:
            self.outbound.pump()

    # Ends

    def ping(self, payload: bytes) -> None:
        """Send a PING of eight bytes; any later data from the client shows that it is alive."""
        self._emit(frames.frame(frames.PING, 0, 0, payload))

    def drain(self) -> None:
        """Refuse new streams, and let those that are open end (graceful shutdown)."""
        event = ConnectionEvent.SEND_GOAWAY
        after = self._row[event]
        if after is _CLOSED:
            self.fail(NO_ERROR, "graceful_stop")
        elif isinstance(after, ConnectionState):
            self._emit(frames.goaway(LARGEST_WINDOW, NO_ERROR, "graceful_stop"))
            self._emit(frames.goaway(self._table.newest, NO_ERROR, "graceful_stop"))
            self._step(event)

    def fail(self, code: int, text: str) -> None:
        """End the connection with GOAWAY, sent after all earlier frames; abort its streams."""
        if self.closed:
            return
        self.failure = code, text
        if self.state is not _PREFACE:
            self._emit(frames.goaway(self._table.newest, code, text))
        self.lost()

    def lost(self) -> None:
        """The socket is closed: abort streams as far as the owner's time allows (`more`)."""
        if not self.closed:
            self._step(ConnectionEvent.END)
        self.outbound.close()
        self._unread = b""
        self._count_block(0)
        self._wind_up()

    def _wind_up(self) -> None:
        self.more = self._requests.abort_all(self._spent)
        self.inbound.lost()
