"""The server's end of one HTTP/2 connection: every frame's rules (RFC 9113, sections 3 to 6).

Bytes come in as the socket gave them; whole frames are acted on, half a frame waits. What a frame
means for a stream is told to the stream's receiver at once. A fault of one stream resets it; a
fault of the connection ends it with GOAWAY, after which nothing more is read.

Cost. n bytes of input cost O(n), however many streams are open and whatever waits on them, and the
work of the calls they complete. The owner's `spent` is asked after every frame: the rest of a read
waits when its time is over. Frames that bring nothing are counted too, so that they end with
ENHANCE_YOUR_CALM (see `allowance.py`; `chatter`: 10,000 and 1,000 a second, answers earn more).

    frame          work                                           counted as
    DATA           its bytes, to the receiver                     chatter if empty, padded, or late
    HEADERS        its bytes and fields (`decoding.py`), a call   resets if refused or malformed,
                                                                  chatter if late
    CONTINUATION   its bytes; a block is bounded by header_list   chatter if short
    PRIORITY       none                                           chatter
    RST_STREAM     the end of one call                            resets: 1,000 and 100 a second
    SETTINGS       6 bytes an entry, O(1) each; one look at       100 and 1 a second; chatter for
                   every stream that waits for its own window     looks that nothing was sent after
                   if the initial window is raised
      its ACK      none                                           chatter unless one was due
    PUSH_PROMISE   ends the connection
    PING           an answer of 17 bytes                          chatter, and PingPolicy
    GOAWAY         none                                           chatter
    WINDOW_UPDATE  one look at its stream, one frame of data      chatter
                   for each stream that has its turn
    unknown        none                                           chatter

What is sent in answer to frames (acknowledgements, resets) is bounded by the owner, which acts on
none while the socket takes nothing.
"""

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from rusd.door.h2 import frames
from rusd.door.h2.errors import (
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    NO_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    STREAM_CLOSED,
    ConnectionFault,
    StreamFault,
)
from rusd.door.h2.frames import (
    ACK,
    END_HEADERS,
    END_STREAM,
    HEAD_SIZE,
    LARGEST_WINDOW,
    PADDED,
    PRIORITIZED,
)
from rusd.door.h2.headers import HeaderReader, Malformed, Request
from rusd.door.h2.inbound import Inbound, Ledger, Limits, Unlimited
from rusd.door.h2.rate_limit import Allowance
from rusd.door.h2.stream import Receiver, Stream


class Meaning(Protocol):
    """What every interpretation of a request must keep of it."""

    @property
    def content_length(self) -> int | None: ...


T = TypeVar("T", bound=Meaning)

#: SETTINGS a peer may change.
SETTINGS_BURST, SETTINGS_PER_SECOND = 100, 1
#: A piece of a header block below this size brings the peer nothing either.
SMALL_PIECE = 1 << 10
#: Streams that are part of what a connection costs, with headers of so many bytes at most; bytes
#: of memory of every other, beside its headers.
FEW_STREAMS, FEW_BYTES = 16, 4 << 10
STREAM_BYTES = 1 << 10


class Connection(Inbound, Generic[T]):
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
        `opened` (stream, meaning, whether the request has no body) gives the stream's receiver;
        None if it answered already. `pinged`: whether the peer may ping as often as it does.
        `now`: any clock's seconds, as for `receive`. `spent`: whether the owner's time is over.
        `ledger` counts the bytes that are kept."""
        super().__init__(wake, limits, ledger or Unlimited(), now)
        self._most = min(limits.max_streams, limits.streams_at_most)
        self._reader = HeaderReader(limits.header_list, interpret)
        self._opened = opened
        self._pinged = pinged
        self._spent = spent
        self._rest = b""
        self._greeted = False
        self._settled = False
        self._last_stream = 0
        self._settings = Allowance(SETTINGS_BURST, SETTINGS_PER_SECOND, now)
        #: A header block under way: its stream (0: none), flags and pieces so far.
        self._block_stream = 0
        self._block_flags = 0
        self._block = bytearray()
        #: Bytes of headers that are remembered, as far as they are counted.
        self._remembered = 0
        #: True while there is something to `act` on, because the owner's time was spent.
        self.more = False
        #: When the frame or header block that is under way, if any is, began to come.
        self.began = now
        self._draining = False
        announced = {
            frames.INITIAL_WINDOW_SIZE: limits.stream_window,
            frames.MAX_HEADER_LIST_SIZE: limits.header_list,
        }
        if limits.max_streams < frames.UNLIMITED:
            announced[frames.MAX_CONCURRENT_STREAMS] = limits.max_streams
        self._greeting = frames.settings(announced)
        if limits.connection_window > frames.DEFAULT_WINDOW:
            more = limits.connection_window - frames.DEFAULT_WINDOW
            self._greeting += frames.window_update(0, more)

    # Reading

    def receive(self, data: bytes, now: float) -> None:
        """Take what came in at `now` and act on it. Never raises for what a peer sent."""
        self.feed(data, now)
        self.act()

    def feed(self, data: bytes, now: float) -> None:
        """Take what came in at `now`."""
        if not self.closed:
            self._now = now
            if self._rest:
                self._rest += data
            else:
                self._rest = data
                if not self._block_stream:
                    self.began = now
            self.more = True

    def act(self) -> None:
        """Act on what came in, one frame at least, until the owner's time is spent; `more` says
        whether that was all."""
        if self.closed:
            self._wind_up()
            return
        self.more = False
        try:
            self._read_frames()
        except ConnectionFault as fault:
            self.fail(fault.code, fault.text)

    def _read_frames(self) -> None:
        data = self._rest
        position = self._greet(data)
        end = len(data)
        unpack, actions, spent = frames.HEAD.unpack_from, _ACTIONS, self._spent
        while end - position >= HEAD_SIZE:
            high, low, kind, flags, ident = unpack(data, position)
            start = position + HEAD_SIZE
            stop = start + (high << 8 | low)
            if stop - start > frames.DEFAULT_FRAME:
                raise ConnectionFault(FRAME_SIZE_ERROR, "frame too large")
            if stop > end:
                break
            position = stop
            if kind > 9:
                self._unknown(ident & LARGEST_WINDOW)
            else:
                if (self._block_stream and kind != frames.CONTINUATION) or not self._settled:
                    self._out_of_turn(kind, flags)
                try:
                    actions[kind](self, flags, ident & LARGEST_WINDOW, data[start:stop])
                except StreamFault as fault:
                    self._fault(fault)
            if spent():
                self.more = end - position >= HEAD_SIZE
                break
        if position and not self.closed:
            self._rest = data[position:]
            if not self._block_stream:
                self.began = self._now

    @property
    def unread(self) -> int:
        """Bytes that came in and are not acted on."""
        return len(self._rest)

    @property
    def block_under_way(self) -> bool:
        """Whether a frame or a header block has begun and not ended (or the preface has not)."""
        return bool(self._block_stream or self._rest) or not self._settled

    def _greet(self, data: bytes) -> int:
        """The preface; how many bytes of it were read."""
        if self._greeted:
            return 0
        if len(data) < len(frames.PREFACE) and frames.PREFACE.startswith(data):
            return 0
        if not data.startswith(frames.PREFACE):
            raise ConnectionFault(PROTOCOL_ERROR, "no HTTP/2 preface")
        self._greeted = True
        self._announced.append(0)
        self.emit(self._greeting)
        return len(frames.PREFACE)

    def _out_of_turn(self, kind: int, flags: int) -> None:
        if self._block_stream:
            raise ConnectionFault(PROTOCOL_ERROR, "a frame within a header block")
        if not self._greeted or kind != frames.SETTINGS or flags & ACK:
            raise ConnectionFault(PROTOCOL_ERROR, "SETTINGS must come first")

    def _unknown(self, ident: int) -> None:
        if self._block_stream:
            raise ConnectionFault(PROTOCOL_ERROR, "a frame within a header block")
        self._idle_talk()

    def _idle_talk(self) -> None:
        """A frame came that is allowed and brings nobody anything."""
        if not self.chatter.spend(self._now):
            raise ConnectionFault(ENHANCE_YOUR_CALM, "too many frames without a purpose")

    # Requests

    def _headers(self, flags: int, ident: int, payload: bytes) -> None:
        if not ident & 1:
            raise ConnectionFault(PROTOCOL_ERROR, "HEADERS on a server's stream")
        if flags & (PADDED | PRIORITIZED):
            payload = _unpadded(flags, payload)
            if flags & PRIORITIZED:
                if len(payload) < 5:
                    raise ConnectionFault(FRAME_SIZE_ERROR, "HEADERS too short")
                if frames.number(payload) & LARGEST_WINDOW == ident:
                    raise ConnectionFault(PROTOCOL_ERROR, "a stream depends on itself")
                payload = payload[5:]
        if flags & END_HEADERS:
            self._header_block(flags, ident, payload)
        else:
            self._block_stream, self._block_flags = ident, flags
            self._block = bytearray(payload)
            self.carry(len(payload))

    def _continuation(self, flags: int, ident: int, payload: bytes) -> None:
        if ident != self._block_stream or not ident:
            raise ConnectionFault(PROTOCOL_ERROR, "CONTINUATION of nothing")
        if len(payload) < SMALL_PIECE and not flags & END_HEADERS:
            self._idle_talk()
        self._block += payload
        self.carry(len(payload))
        if len(self._block) > self._limits.header_list:
            raise ConnectionFault(ENHANCE_YOUR_CALM, "header block too large")
        if flags & END_HEADERS:
            encoded = self._end_block()
            self._header_block(self._block_flags, ident, encoded)

    def _end_block(self) -> bytes:
        encoded, self._block, self._block_stream = bytes(self._block), bytearray(), 0
        self.carry(-len(encoded))
        return encoded

    def _header_block(self, flags: int, ident: int, encoded: bytes) -> None:
        stream = self.streams.get(ident)
        if stream is not None:
            self._trailers(stream, flags, encoded)
            return
        if ident <= self._last_stream:
            self._late_headers(ident, encoded)
            return
        self._last_stream = ident
        try:
            meaning = self._reader.request(encoded) if encoded else None
        except Malformed:
            meaning = None
        if meaning is None:
            raise StreamFault(ident, PROTOCOL_ERROR)
        if len(self.streams) >= self._most or self._draining:
            raise StreamFault(ident, REFUSED_STREAM)
        stream = Stream(ident, self, self._initial_receive_window)
        self.streams[ident] = stream
        weight = self._reader.weight
        if weight > FEW_BYTES or len(self.streams) > FEW_STREAMS:
            stream.weight = weight + STREAM_BYTES
            self.carry(stream.weight)
        if self._reader.remembered != self._remembered:
            self._count_remembered(self._reader.remembered)
        ended = bool(flags & END_STREAM)
        length = meaning.content_length
        if length is not None:
            stream.expected = length
            if ended and length:
                self.forget(stream)
                raise StreamFault(ident, PROTOCOL_ERROR)
        stream.remote_open = not ended
        receiver = self._opened(stream, meaning, ended)
        if self.streams.get(ident) is stream:
            stream.receiver = receiver

    def _count_remembered(self, size: int) -> None:
        self.carry(size - self._remembered)
        self._remembered = size

    def _trailers(self, stream: Stream, flags: int, encoded: bytes) -> None:
        malformed = False
        try:
            self._reader.trailers(encoded)
        except Malformed:
            malformed = True
        if not stream.remote_open:
            raise StreamFault(stream.id, STREAM_CLOSED)
        if malformed:
            raise StreamFault(stream.id, PROTOCOL_ERROR)
        if not flags & END_STREAM or stream.expected > 0:
            raise StreamFault(stream.id, PROTOCOL_ERROR)
        stream.remote_open = False
        if stream.receiver is not None:
            stream.receiver.data(b"", True)

    def _late_headers(self, ident: int, encoded: bytes) -> None:
        """Headers for a stream that is over, or was passed over."""
        if ident in self._abandoned:
            self._idle_talk()
            try:
                self._reader.trailers(encoded)
            except Malformed:
                raise ConnectionFault(PROTOCOL_ERROR, "malformed trailers") from None
        elif ident == self._last_stream:
            raise ConnectionFault(STREAM_CLOSED, "HEADERS on a closed stream")
        else:
            raise ConnectionFault(PROTOCOL_ERROR, "stream numbers must grow")

    def _data(self, flags: int, ident: int, payload: bytes) -> None:
        size = len(payload)
        if not self._take_window(size):
            raise ConnectionFault(FLOW_CONTROL_ERROR, "more data than the connection's window")
        stream = self.streams.get(ident)
        if stream is None:
            self._late(ident, STREAM_CLOSED)
            return
        if not stream.remote_open:
            raise StreamFault(ident, STREAM_CLOSED)
        stream.receive_window -= size
        if stream.receive_window < 0 < size:
            raise StreamFault(ident, FLOW_CONTROL_ERROR)
        if flags & PADDED:
            payload = _unpadded(flags, payload)
            self._idle_talk()
        ended = bool(flags & END_STREAM)
        if not payload and not ended:
            self._idle_talk()
            return
        if stream.expected >= 0:
            stream.expected -= len(payload)
            if stream.expected < 0 or (ended and stream.expected):
                raise StreamFault(ident, PROTOCOL_ERROR)
        if ended:
            stream.remote_open = False
        if stream.receiver is not None:
            stream.receiver.data(payload, ended)

    def _rst_stream(self, flags: int, ident: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(FRAME_SIZE_ERROR, "RST_STREAM of another size than 4")
        stream = self.streams.get(ident)
        if stream is None:
            self._late(ident, NO_ERROR)
            return
        self._count_reset()
        self._abort(stream)

    def _late(self, ident: int, code: int) -> None:
        """A frame for a stream that is over (answered with a reset of `code`, if any) or never
        was. Streams that ended before the peer knew are no fault of its."""
        if ident == 0 or ident > self._last_stream or not ident & 1:
            raise ConnectionFault(PROTOCOL_ERROR, "a frame for a stream that was never opened")
        self._idle_talk()
        if code and ident not in self._abandoned:
            raise StreamFault(ident, code)

    def _count_reset(self) -> None:
        if not self.resets.spend(self._now):
            raise ConnectionFault(ENHANCE_YOUR_CALM, "too many resets")

    def _fault(self, fault: StreamFault) -> None:
        self._count_reset()
        self.emit(frames.reset(fault.stream, fault.code))
        self.abandon(fault.stream)
        stream = self.streams.get(fault.stream)
        if stream is not None:
            self._abort(stream)

    def _abort(self, stream: Stream) -> None:
        receiver = stream.receiver
        self.forget(stream)
        if receiver is not None:
            receiver.aborted()

    # The connection's own frames

    def _priority(self, flags: int, ident: int, payload: bytes) -> None:
        if ident == 0:
            raise ConnectionFault(PROTOCOL_ERROR, "PRIORITY without a stream")
        self._idle_talk()
        if len(payload) != 5:
            raise StreamFault(ident, FRAME_SIZE_ERROR)
        if frames.number(payload) & LARGEST_WINDOW == ident:
            raise StreamFault(ident, PROTOCOL_ERROR)

    def _settings_frame(self, flags: int, ident: int, payload: bytes) -> None:
        if ident:
            raise ConnectionFault(PROTOCOL_ERROR, "SETTINGS on a stream")
        if flags & ACK:
            if payload:
                raise ConnectionFault(FRAME_SIZE_ERROR, "SETTINGS acknowledged with a payload")
            if not self.acknowledged():
                self._idle_talk()
            return
        if len(payload) % 6:
            raise ConnectionFault(FRAME_SIZE_ERROR, "SETTINGS cut off")
        if not self._settings.spend(self._now):
            raise ConnectionFault(ENHANCE_YOUR_CALM, "too many SETTINGS")
        self._settled = True
        initial_window = self.initial_window
        for identifier, value in frames.read_settings(payload):
            if identifier == frames.INITIAL_WINDOW_SIZE:
                # (That this takes a stream's window beyond the largest is noticed at its next
                # update, as in grpc-go: to look at every stream would not be O(1).)
                if value > LARGEST_WINDOW:
                    raise ConnectionFault(FLOW_CONTROL_ERROR, "window too large")
                initial_window = value
            else:
                self._apply(identifier, value)
        if not self.resize(initial_window, self._now):
            raise ConnectionFault(ENHANCE_YOUR_CALM, "windows too small")
        self.emit(frames.SETTINGS_ACK)
        self.pump()

    def _apply(self, identifier: int, value: int) -> None:
        if identifier == frames.MAX_FRAME_SIZE:
            if not frames.DEFAULT_FRAME <= value <= frames.LARGEST_FRAME:
                raise ConnectionFault(PROTOCOL_ERROR, "frame size out of range")
            # Frames stay small, so that streams get their turns.
        elif identifier == frames.ENABLE_PUSH:
            if value > 1:
                raise ConnectionFault(PROTOCOL_ERROR, "ENABLE_PUSH is 0 or 1")
        elif identifier == frames.HEADER_TABLE_SIZE and value < 4096:
            # Our blocks use no table; saying so once is due all the same (RFC 7541, 4.2).
            self.table_update = b"\x20"

    def _push_promise(self, flags: int, ident: int, payload: bytes) -> None:
        raise ConnectionFault(PROTOCOL_ERROR, "clients do not push")

    def _ping(self, flags: int, ident: int, payload: bytes) -> None:
        if ident:
            raise ConnectionFault(PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            raise ConnectionFault(FRAME_SIZE_ERROR, "PING of another size than 8")
        self._idle_talk()
        if flags & ACK:
            return
        self.emit(frames.frame(frames.PING, ACK, 0, payload))
        if not self._pinged():
            raise ConnectionFault(ENHANCE_YOUR_CALM, "too_many_pings")

    def _goaway(self, flags: int, ident: int, payload: bytes) -> None:
        if ident:
            raise ConnectionFault(PROTOCOL_ERROR, "GOAWAY on a stream")
        if len(payload) < 8:
            raise ConnectionFault(FRAME_SIZE_ERROR, "GOAWAY too short")
        # The client opens no more streams; it closes the connection when it has its answers.
        self._idle_talk()

    def _window_update(self, flags: int, ident: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(FRAME_SIZE_ERROR, "WINDOW_UPDATE of another size than 4")
        increment = frames.number(payload) & LARGEST_WINDOW
        self._idle_talk()
        if ident == 0:
            if increment == 0:
                raise ConnectionFault(PROTOCOL_ERROR, "window raised by nothing")
            self.window += increment
            if self.window > LARGEST_WINDOW:
                raise ConnectionFault(FLOW_CONTROL_ERROR, "window too large")
        else:
            stream = self.streams.get(ident)
            if stream is None:
                self._late(ident, NO_ERROR)
                return
            if increment == 0:
                raise StreamFault(ident, PROTOCOL_ERROR)
            if self.raise_window(stream, increment) > LARGEST_WINDOW:
                raise StreamFault(ident, FLOW_CONTROL_ERROR)
        if self.in_turn:
            self.pump()

    # Ends

    def ping(self, payload: bytes) -> None:
        """Ask for a sign of life (eight bytes): whatever the peer sends then is one."""
        self.emit(frames.frame(frames.PING, 0, 0, payload))

    def warn(self) -> None:
        """Say that the connection will end soon; streams that are under way are still served."""
        if not self.closed:
            self.emit(frames.goaway(LARGEST_WINDOW, NO_ERROR, "graceful_stop"))

    def drain(self) -> None:
        """Take no more streams; those that run may end."""
        if not self.closed and not self._draining:
            self._draining = True
            self.emit(frames.goaway(self._last_stream, NO_ERROR, "graceful_stop"))

    def fail(self, code: int, text: str) -> None:
        """End the connection: what is written so far and GOAWAY go out, streams are aborted."""
        if not self.closed:
            if self._greeted:
                self.emit(frames.goaway(self._last_stream, code, text))
            self.lost()

    def lost(self) -> None:
        """The socket is gone: streams are aborted, as far as the owner's time allows (`more`)."""
        self.closed = True
        self._rest = b""
        self._end_block()
        self._count_remembered(0)
        self._wind_up()

    def _wind_up(self) -> None:
        self.more = False
        while self.streams:
            self._abort(self.streams.popitem()[1])
            if self._spent():
                self.more = bool(self.streams)
                break
        self.ledger.forget(self._grant)


def _unpadded(flags: int, payload: bytes) -> bytes:
    if not flags & PADDED:
        return payload
    if not payload:
        raise ConnectionFault(FRAME_SIZE_ERROR, "no room for the length of padding")
    padding = payload[0]
    if padding >= len(payload):
        raise ConnectionFault(PROTOCOL_ERROR, "more padding than frame")
    return payload[1 : len(payload) - padding]


_ACTIONS = (
    Connection._data,
    Connection._headers,
    Connection._priority,
    Connection._rst_stream,
    Connection._settings_frame,
    Connection._push_promise,
    Connection._ping,
    Connection._goaway,
    Connection._window_update,
    Connection._continuation,
)
