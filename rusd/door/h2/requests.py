"""Requests: header blocks, bodies, trailers and resets of streams (RFC 9113, 5.1, 6.1, 6.4, 8.1).

    header block ─▶ StreamTable (a new stream) ─▶ opened ─▶ Receiver
    DATA, trailers, RST_STREAM ─▶ StreamTable (its next state) ─▶ Receiver

A frame that a stream's state does not allow raises the error of `states.py`; malformed requests,
exceeded windows and bodies of another length than declared are stream errors.
"""

from collections.abc import Callable
from typing import Generic, TypeVar, cast

from rusd.door.h2.errors import (
    FLOW_CONTROL_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    H2ConnectionError,
    H2StreamError,
)
from rusd.door.h2.frames import END_STREAM, LARGEST_WINDOW, PADDED
from rusd.door.h2.header_block import unpadded
from rusd.door.h2.headers import HeaderReader, Malformed
from rusd.door.h2.inbound import Inbound, Limits
from rusd.door.h2.outbound import Outbound
from rusd.door.h2.rate_limit import RESET_BURST, FrameLimits
from rusd.door.h2.states import MAY_RECEIVE, STREAM, StreamEvent, StreamState
from rusd.door.h2.stream import Stream
from rusd.door.h2.stream_table import StreamTable
from rusd.door.ports import Receiver, RequestMeaning

T = TypeVar("T", bound=RequestMeaning)

#: Streams whose memory is part of what a connection costs, with headers of at most `FREE_BYTES`;
#: bytes counted for any other stream, beside its headers. Streams are counted so many at a time.
FREE_STREAMS, FREE_BYTES = 16, 4 << 10
STREAM_BYTES = 1 << 10
STEP = 16

# (Columns and members by names of this file: to find a member in its class takes longer.)
# (Looked up in states that may receive only.)
_RECV_ENDED = cast(
    "tuple[StreamState, ...]", tuple(row[StreamEvent.RECV_END_STREAM] for row in STREAM)
)
_SEND_ENDED = tuple(row[StreamEvent.SEND_END_STREAM] for row in STREAM)
_HALF_CLOSED_LOCAL = StreamState.HALF_CLOSED_LOCAL


class Requests(Generic[T]):
    """The streams of one connection as the client's frames change them."""

    def __init__(
        self,
        limits: Limits,
        reader: HeaderReader[T],
        opened: Callable[[Stream, T, bool], Receiver | None],
        table: StreamTable,
        rates: FrameLimits,
    ) -> None:
        self._limit = min(limits.max_streams, limits.streams_at_most)
        self._reader = reader
        self._opened = opened
        self._table = table
        self._streams = table.open
        self._rates = rates
        #: Bytes of cached header blocks that are counted as overhead.
        self._cached = 0
        #: Open streams that are free or counted, and the number below which fewer are counted.
        self._covered = FREE_STREAMS
        self._uncover_below = 0
        self._resets = rates.resets

    def connect(self, inbound: Inbound, outbound: Outbound) -> None:
        """Connect both directions of the data; once, before the first frame."""
        self._inbound = inbound
        self._outbound = outbound

    # Header blocks

    def block(self, flags: int, ident: int, encoded: bytes, accepted: bool) -> None:
        """Handle a complete header block. `accepted`: whether new streams are accepted."""
        table = self._table
        if ident <= table.newest:
            self._trailers(flags, ident, encoded)
            return
        table.newest = ident
        try:
            meaning = self._reader.request(encoded)
        except Malformed:
            meaning = None
        if meaning is None:
            raise H2StreamError(ident, PROTOCOL_ERROR)
        if not accepted or len(table.open) >= self._limit:
            raise H2StreamError(ident, REFUSED_STREAM)
        streams, inbound = table.open, self._inbound
        stream = Stream(ident, inbound, self._outbound, inbound.initial_window, self._rates.now)
        streams[ident] = stream
        reader = self._reader
        if reader.weight or reader.cached != self._cached:
            self._count_headers(stream)
        if len(streams) > self._covered:
            self._cover(self._covered + STEP)
        ended = bool(flags & END_STREAM)
        length = meaning.content_length
        if length is not None:
            stream.expected = length
            if ended and length:
                raise H2StreamError(ident, PROTOCOL_ERROR)
        if ended:
            self._end(stream)
        receiver = self._opened(stream, meaning, ended)
        if streams.get(ident) is stream:
            stream.receiver = receiver

    def _cover(self, streams: int) -> None:
        """Count the memory of so many streams, those that are free included."""
        self._inbound.count_overhead((streams - self._covered) * STREAM_BYTES)
        self._covered = streams
        # (Far enough below that streams which come and go are not counted again and again.)
        free = streams == FREE_STREAMS
        self._uncover_below = 0 if free else max(streams // 2, FREE_STREAMS) + 1

    def _uncover(self) -> None:
        steps = -(-max(len(self._table.open) - FREE_STREAMS, 0) // STEP)
        self._cover(FREE_STREAMS + steps * STEP)

    def _count_headers(self, stream: Stream) -> None:
        """Count the memory of a new stream's headers, beyond what is free."""
        reader = self._reader
        if reader.weight > FREE_BYTES or len(self._table.open) > FREE_STREAMS:
            stream.overhead = reader.weight
            self._inbound.count_overhead(stream.overhead)
        if reader.cached != self._cached:
            self._count_cached(reader.cached)

    def _count_cached(self, size: int) -> None:
        self._inbound.count_overhead(size - self._cached)
        self._cached = size

    def _trailers(self, flags: int, ident: int, encoded: bytes) -> None:
        """Handle a header block for an existing, skipped or closed stream."""
        stream = self._table.open.get(ident)
        if stream is None:
            self._table.refuse(ident, StreamEvent.RECV_HEADERS)
            self._rates.count_overhead()
        malformed = False
        try:
            self._reader.trailers(encoded)  # in any case: HPACK's table depends on every block
        except Malformed:
            malformed = True
        if stream is None:
            if malformed:
                raise H2ConnectionError(PROTOCOL_ERROR, "malformed trailers")
            return
        self._table.receive(ident, StreamEvent.RECV_HEADERS)
        if malformed or not flags & END_STREAM or stream.expected > 0:
            raise H2StreamError(ident, PROTOCOL_ERROR)
        self._end(stream)
        if stream.receiver is not None:
            stream.receiver.data(b"", True)

    # Frames of streams

    def data(self, flags: int, ident: int, payload: bytes) -> None:
        size = len(payload)
        if not self._inbound.take_window(size):
            raise H2ConnectionError(FLOW_CONTROL_ERROR, "more data than the connection's window")
        stream = self._table.open.get(ident)
        if stream is None or not MAY_RECEIVE[stream.state]:
            self._rates.count_overhead()
            self._table.refuse(ident, StreamEvent.RECV_DATA)
            return
        stream.receive_window -= size
        if stream.receive_window < 0 < size:
            raise H2StreamError(ident, FLOW_CONTROL_ERROR)
        if flags & PADDED:
            payload = unpadded(flags, payload)
            self._rates.count_overhead()
        ended = bool(flags & END_STREAM)
        if not payload and not ended:
            self._rates.count_overhead()
            return
        if stream.expected >= 0:
            stream.expected -= len(payload)
            if stream.expected < 0 or (ended and stream.expected):
                raise H2StreamError(ident, PROTOCOL_ERROR)
        if ended:
            stream.state = _RECV_ENDED[stream.state]
        if stream.receiver is not None:
            stream.receiver.data(payload, ended)

    def rst_stream(self, ident: int) -> None:
        """Handle RST_STREAM of the client (6.4)."""
        stream = self._table.receive(ident, StreamEvent.RECV_RST_STREAM)
        if stream is None:
            self._rates.count_overhead()
            return
        self._rates.count_reset(self._rates.now - stream.opened)
        self.abort(stream)

    def window_update(self, ident: int, increment: int) -> None:
        """Handle WINDOW_UPDATE of a stream (6.9)."""
        self._rates.count_overhead()
        stream = self._table.receive(ident, StreamEvent.RECV_WINDOW_UPDATE)
        if stream is None:
            return
        if increment == 0:
            raise H2StreamError(ident, PROTOCOL_ERROR)
        if self._outbound.raise_window(stream, increment) > LARGEST_WINDOW:
            raise H2StreamError(ident, FLOW_CONTROL_ERROR)

    def _end(self, stream: Stream) -> None:
        """Handle END_STREAM of the client."""
        stream.state = _RECV_ENDED[stream.state]

    # Ends of streams

    def server_ended(self, stream: Stream) -> None:
        """Record END_STREAM of the server; further data of the client is not needed (8.1)."""
        after = _SEND_ENDED[stream.state]
        assert isinstance(after, StreamState)
        stream.state = after
        if self._resets.tokens < RESET_BURST:
            self._resets.earn()
        if after is _HALF_CLOSED_LOCAL:
            self._outbound.reset(stream, 0)
        else:
            self._remove(stream)

    def server_reset(self, stream: Stream) -> None:
        """Record RST_STREAM of the server."""
        self.reset_sent(stream.id)
        self._remove(stream)

    def reset_sent(self, ident: int) -> Stream | None:
        """Record RST_STREAM of the server; return the stream if it is still open."""
        self._table.add_reset(ident)
        stream = self._table.open.get(ident)
        if stream is not None:
            stream.state = StreamState.RESET
        return stream

    def abort(self, stream: Stream) -> None:
        """Tell the receiver of a stream that it ended before its response."""
        receiver = stream.receiver
        self._remove(stream)
        if receiver is not None:
            receiver.aborted()

    def _remove(self, stream: Stream) -> None:
        self._streams.pop(stream.id, None)
        if len(self._streams) < self._uncover_below:
            self._uncover()
        # Stream and receiver refer to each other: the garbage collector alone would free them.
        stream.receiver = None
        if stream.queue:
            self._outbound.drop(stream)
        if stream.kept or stream.missing or stream.reserved or stream.overhead:
            self._inbound.release(stream)

    def abort_all(self, spent: Callable[[], bool]) -> bool:
        """Abort the streams of an ended connection until the time is `spent`.

        Returns whether streams are left.
        """
        self._count_cached(0)
        streams = self._table.open
        while streams:
            stream = streams.popitem()[1]
            stream.state = StreamState.CLOSED
            self.abort(stream)
            if spent():
                break
        return bool(streams)
