"""The send side of a connection: frames in order, data within windows, streams round-robin.

Frames collect in a list until the owner takes all of them as one buffer. Data beyond a window waits
in its stream. Streams with an open window send one frame each in turn, so that a long answer does
not delay short ones; one that is alone sends several at once. Streams with a closed window are not
examined until the client raises it. A window update therefore costs O(1), however many streams
wait.
"""

from collections import OrderedDict, deque
from collections.abc import Callable

from rusd.door.h2 import frames
from rusd.door.h2.frames import DATA, END_HEADERS, END_STREAM, HEADERS
from rusd.door.h2.rate_limit import OVERHEAD_BURST, FrameLimits
from rusd.door.h2.stream import HIGH_BYTES, LOW_BYTES, NOTHING, Stream
from rusd.door.ports import Ledger

#: Bytes of waiting data framed between two writes of the owner; each examination of a stream counts
#: as `LOOK_BYTES`, so that tiny windows do not make long batches.
BATCH_BYTES = 256 << 10
LOOK_BYTES = 256
#: Bytes of a data frame that pays for another examination of its stream.
WORTHWHILE = 64
_pack = frames.HEAD.pack
_LAST = END_STREAM | END_HEADERS


class Outbound:
    """Frames to be written, and flow control of responses."""

    def __init__(
        self,
        wake: Callable[[], None],
        ended: Callable[[Stream], None],
        reset: Callable[[Stream], None],
        rates: FrameLimits,
        ledger: Ledger,
    ) -> None:
        """`wake` is called when there is something to `take` and nothing was before; `ended` when
        the server has sent END_STREAM, `reset` when it has sent RST_STREAM. `ledger` counts the
        bytes that wait.
        """
        self._wake = wake
        self._ended = ended
        self._reset = reset
        self._rates = rates
        self._earned = rates.overhead
        self.ledger = ledger
        self._pieces: list[bytes] = []
        #: Bytes of data among them.
        self._batch = 0
        #: Streams with data that waits: in turn, and those whose own window is closed.
        self.in_turn: OrderedDict[Stream, None] = OrderedDict()
        self._blocked: dict[Stream, None] = {}
        #: Examinations of blocked streams that are paid for: by answers, and by data sent since.
        self._looks = 0
        #: Bytes of all streams that wait for a window.
        self.queued = 0
        #: Bytes of data handed out so far. A connection with a queue where this does not grow is
        #: not being read.
        self.sent = 0
        #: The windows of the client, and the size of frames that it accepts.
        self.window = frames.DEFAULT_WINDOW
        self.initial_window = frames.DEFAULT_WINDOW
        self.max_frame = frames.DEFAULT_FRAME
        #: Precedes the next header block: HPACK's answer to a smaller table of the client.
        self.table_update = b""
        #: The socket takes no more data.
        self._held = False
        #: Nothing is written any more.
        self._closed = False
        #: Whether a header or data frame was sent since the client's last ping.
        self.busy = False

    def close(self) -> None:
        """Drop all frames that are queued from now on."""
        self._closed = True

    # Calls of the owner

    def take(self) -> bytes:
        """Return everything to be written now."""
        pieces, self._pieces = self._pieces, []
        self._batch = 0
        return b"".join(pieces)

    def hold(self, held: bool) -> None:
        """Record that the socket accepts no more data (True), or accepts data again (False)."""
        self._held = held
        if not held:
            self.pump()

    def emit(self, piece: bytes) -> None:
        """Write whole frames."""
        if self._closed:
            return
        if not self._pieces:
            self._wake()
        self._pieces.append(piece)

    # Calls of streams

    def complete(self, stream: Stream, head: bytes, payload: bytes, tail: bytes) -> None:
        size = len(payload)
        if (
            size > self.window
            or size > self.initial_window - stream.sent
            or size > self.max_frame
            or self._held
            or self.table_update
            or len(head) > 255
            or len(tail) > self.max_frame
        ):
            self.headers(stream, head, end=False)
            self.data(stream, payload)
            self.end(stream, tail)
            return
        self.window -= size
        self.sent += size
        self.busy = True
        earned = self._earned
        if earned.tokens < OVERHEAD_BURST:
            earned.earn(2)
        ident = stream.id
        answer = (
            _pack(0, len(head), HEADERS, END_HEADERS, ident),
            head,
            _pack(size >> 8, size & 0xFF, DATA, 0, ident),
            payload,
            _pack(len(tail) >> 8, len(tail) & 0xFF, HEADERS, _LAST, ident),
            tail,
        )
        if not self._closed:
            pieces = self._pieces
            if not pieces:
                self._wake()
            pieces += answer
        self._ended(stream)

    def headers(self, stream: Stream, encoded: bytes, *, end: bool) -> None:
        if self.table_update:
            encoded, self.table_update = self.table_update + encoded, b""
        kind, flags = frames.HEADERS, frames.END_STREAM if end else 0
        for start in range(0, len(encoded), self.max_frame):
            piece = encoded[start : start + self.max_frame]
            if start + self.max_frame >= len(encoded):
                flags |= frames.END_HEADERS
            self.emit(frames.frame(kind, flags, stream.id, piece))
            kind, flags = frames.CONTINUATION, 0
        self.busy = True
        if end:
            self._ended(stream)

    def data(self, stream: Stream, payload: bytes) -> None:
        size = len(payload)
        if (
            size <= self.window
            and size <= self.initial_window - stream.sent
            and size <= self.max_frame
            and not stream.queue
            and not self._held
        ):
            stream.sent += size
            self._rates.overhead.earn(2)
            self._emit_data(stream, payload)
            return
        if not stream.queue:
            stream.queue = deque()
            self._looks += 1
            self.in_turn[stream] = None
        stream.queue.append(payload)
        stream.queued += size
        self.queued += size
        self.ledger.add(size)
        if stream.queued > HIGH_BYTES:
            stream.full = True
        self.pump()

    def end(self, stream: Stream, tail: bytes) -> None:
        if stream.queue:
            stream.trailers = tail
        else:
            self._finish(stream, tail)

    def _finish(self, stream: Stream, tail: bytes) -> None:
        if tail:
            self.headers(stream, tail, end=True)
        else:
            self.emit(frames.frame(frames.DATA, frames.END_STREAM, stream.id))
            self._ended(stream)

    def reset(self, stream: Stream, code: int) -> None:
        self.emit(frames.reset(stream.id, code))
        self._reset(stream)

    # Flow

    def pump(self) -> None:
        """Send what the windows allow, one frame of each stream in turn; at most as much as a
        socket usually accepts. The owner pumps again when it has written that.
        """
        while self.sendable and self._batch < BATCH_BYTES:
            self._batch += LOOK_BYTES
            stream, _ = self.in_turn.popitem(last=False)
            longest = self.max_frame
            if not self.in_turn:
                longest *= max(1, (BATCH_BYTES - self._batch) // longest)
            room = min(self.initial_window - stream.sent, self.window, longest)
            if room > 0:
                self._send_queued(stream, room)
            else:
                self._blocked[stream] = None

    @property
    def waiting_streams(self) -> int:
        """Number of streams with queued data."""
        return len(self.in_turn) + len(self._blocked)

    @property
    def sendable(self) -> bool:
        """Whether queued data could be sent now: the windows and the socket allow it."""
        return bool(self.in_turn) and self.window > 0 and not self._held

    def _send_queued(self, stream: Stream, room: int) -> None:
        first = stream.queue.popleft()
        if len(first) > room:
            # A view: the rest of a long answer is not copied for every frame of it.
            view = memoryview(first)
            stream.queue.appendleft(view[room:])  # type: ignore[arg-type]
            first = view[:room]  # type: ignore[assignment]
        size = len(first)
        stream.sent += size
        stream.queued -= size
        self.queued -= size
        self.ledger.add(-size)
        if size >= WORTHWHILE or not stream.queue:
            count = -(-size // self.max_frame)
            self._looks += count
            self._rates.overhead.earn(2 * count)
        self._emit_data(stream, first)
        if stream.queue:
            self.in_turn[stream] = None
        elif stream.trailers is not None:
            self._finish(stream, stream.trailers)
            return
        if stream.full and stream.queued <= LOW_BYTES:
            stream.full = False
            if stream.receiver is not None and stream.trailers is None:
                stream.receiver.drained()

    def _emit_data(self, stream: Stream, payload: bytes) -> None:
        size = len(payload)
        self.window -= size
        self._batch += size
        self.sent += size
        self.busy = True
        start, longest = 0, self.max_frame
        if size > longest:
            view = memoryview(payload)
            head = _pack(longest >> 8, longest & 0xFF, DATA, 0, stream.id)
            while start + longest < size:
                self.emit(head)
                self.emit(view[start : start + longest])  # type: ignore[arg-type]
                start += longest
            payload = view[start:]  # type: ignore[assignment]
        size -= start
        self.emit(_pack(size >> 8, size & 0xFF, DATA, 0, stream.id))
        self.emit(payload)

    def raise_window(self, stream: Stream, increment: int) -> int:
        """Apply a WINDOW_UPDATE of one stream; return its new window in bytes."""
        stream.sent -= increment
        window = self.initial_window - stream.sent
        if window > 0 and stream in self._blocked:
            del self._blocked[stream]
            self.in_turn[stream] = None
        return window

    def resize(self, initial_window: int) -> None:
        """Apply the client's new initial window.

        Raises H2ConnectionError if the client raises it again and again by next to nothing: each
        raise examines every blocked stream.
        """
        raised = initial_window > self.initial_window
        self.initial_window = initial_window
        if not raised or not self._blocked:
            return
        unpaid = max(0, len(self._blocked) - self._looks)
        self._looks = max(0, self._looks - len(self._blocked))
        self.in_turn.update(self._blocked)
        self._blocked.clear()
        if unpaid:
            self._rates.count_looks(unpaid)

    def drop(self, stream: Stream) -> None:
        """Drop the queue of a stream that has ended."""
        self.queued -= stream.queued
        self.ledger.add(-stream.queued)
        stream.queue = NOTHING
        stream.queued = 0
        self.in_turn.pop(stream, None)
        self._blocked.pop(stream, None)
