"""What a connection has to write: frames in order, data within the windows, streams in fair turns.

Frames collect in a list until the owner takes them all as one buffer. Data that no window lets
through waits in its stream; streams that wait take turns, one frame each, so that a long answer
does not hold up the short ones beside it.
"""

from collections import deque
from collections.abc import Callable

from rusd.door.h2 import frames
from rusd.door.h2.allowance import Allowance
from rusd.door.h2.faults import NO_ERROR
from rusd.door.h2.stream import HIGH_BYTES, LOW_BYTES, Stream

#: Streams we ended before the client did; frames that were under way for them are dropped quietly.
ABANDONED = 1000
#: Resets a peer may cause (cancelled calls, refused streams) beyond those that answered calls earn.
RESET_BURST, RESETS_PER_SECOND = 1000, 100
#: Bytes of waiting data that are framed before the owner has written them.
BATCH_BYTES = 256 << 10
#: Frames that carry nothing.
CHATTER_BURST, CHATTER_PER_SECOND = 10_000, 1_000


class Outbound:
    """The writing half of a connection."""

    def __init__(self, wake: Callable[[], None], receive_window: int, now: float) -> None:
        """`wake` is called when there is something to `take` and nothing was before.
        `receive_window`: bytes a client may have under way on one stream."""
        self._wake = wake
        self._pieces: list[bytes] = []
        #: Bytes of data among them.
        self._taken_next = 0
        self._initial_receive_window = receive_window
        self.streams: dict[int, Stream] = {}
        self._abandoned: deque[int] = deque(maxlen=ABANDONED)
        self._waiting: dict[Stream, None] = {}
        #: Bytes that wait for a window, of all streams.
        self.queued = 0
        #: Bytes of data handed out so far: a connection with a queue where this stands still is
        #: not being read.
        self.sent = 0
        #: What the peer allows.
        self.window = frames.DEFAULT_WINDOW
        self.initial_window = frames.DEFAULT_WINDOW
        self.max_frame = frames.DEFAULT_FRAME
        #: Before our next header block: HPACK's answer to a peer that made its table smaller.
        self.table_update = b""
        self._held = False
        self.resets = Allowance(RESET_BURST, RESETS_PER_SECOND, now)
        self.chatter = Allowance(CHATTER_BURST, CHATTER_PER_SECOND, now)
        #: Whether a header or data frame was sent since the peer's last ping.
        self.busy = False

    # The owner's side

    def take(self) -> bytes:
        """Everything to be written now."""
        pieces, self._pieces = self._pieces, []
        self._taken_next = 0
        return b"".join(pieces)

    def hold(self, held: bool) -> None:
        """The socket takes no more data (True), or does again."""
        self._held = held
        if not held:
            self.pump()

    def emit(self, piece: bytes) -> None:
        """Write whole frames."""
        if not self._pieces:
            self._wake()
        self._pieces.append(piece)

    # Streams' side

    def complete(self, stream: Stream, head: bytes, payload: bytes, tail: bytes) -> None:
        size = len(payload)
        if (
            size > self.window
            or size > stream.window
            or size > self.max_frame
            or self._waiting
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
        self.chatter.earn(2)
        ident = stream.id
        pack = frames.HEAD.pack
        self.emit(
            b"".join(
                (
                    pack(0, len(head), frames.HEADERS, frames.END_HEADERS, ident),
                    head,
                    pack(size >> 8, size & 0xFF, frames.DATA, 0, ident),
                    payload,
                    pack(len(tail) >> 8, len(tail) & 0xFF, frames.HEADERS, 5, ident),
                    tail,
                )
            )
        )
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
            and size <= stream.window
            and size <= self.max_frame
            and not stream.queue
            and not self._held
        ):
            stream.window -= size
            self._emit_data(stream, payload)
            return
        stream.queue.append(payload)
        stream.queued += size
        self.queued += size
        if stream.queued > HIGH_BYTES:
            stream.full = True
        self._waiting[stream] = None
        self.pump()

    def end(self, stream: Stream, tail: bytes) -> None:
        if stream.queue:
            stream.tail = tail
        else:
            self._finish(stream, tail)

    def _finish(self, stream: Stream, tail: bytes) -> None:
        if tail:
            self.headers(stream, tail, end=True)
        else:
            self.emit(frames.frame(frames.DATA, frames.END_STREAM, stream.id))
            self._ended(stream)

    def reset(self, stream: Stream, code: int) -> None:
        if self.streams.get(stream.id) is stream:
            self.emit(frames.reset(stream.id, code))
            self._abandoned.append(stream.id)
            self.forget(stream)

    def consumed(self, stream: Stream, size: int) -> None:
        # One update for half a window: what has been read is given back in big pieces.
        owed = self._initial_receive_window - stream.receive_window
        if 2 * owed >= self._initial_receive_window:
            stream.receive_window += owed
            self.emit(frames.window_update(stream.id, owed))

    # Flow

    def pump(self) -> None:
        """Send what the windows let through, one frame of each waiting stream in turn; no more at
        a time than a socket is likely to take: the owner pumps on when it has written that."""
        while (
            self._waiting and not self._held and self.window > 0 and self._taken_next < BATCH_BYTES
        ):
            progress = False
            for stream in list(self._waiting):
                room = min(stream.window, self.window, self.max_frame)
                if room > 0:
                    progress = True
                    self._send_queued(stream, room)
                elif self.window <= 0:
                    break
            if not progress:
                return

    def _send_queued(self, stream: Stream, room: int) -> None:
        first = stream.queue.popleft()
        if len(first) > room:
            # A view: the rest of a long answer is not copied for every frame of it.
            view = memoryview(first)
            stream.queue.appendleft(view[room:])  # type: ignore[arg-type]
            first = view[:room]  # type: ignore[assignment]
        size = len(first)
        stream.window -= size
        stream.queued -= size
        self.queued -= size
        self._emit_data(stream, first)
        if not stream.queue:
            del self._waiting[stream]
            if stream.tail is not None:
                self._finish(stream, stream.tail)
                return
        if stream.full and stream.queued <= LOW_BYTES:
            stream.full = False
            if stream.receiver is not None and stream.tail is None:
                stream.receiver.drained()

    def _emit_data(self, stream: Stream, payload: bytes) -> None:
        size = len(payload)
        self.window -= size
        self._taken_next += size
        self.sent += size
        self.busy = True
        self.chatter.earn(2)
        self.emit(frames.HEAD.pack(size >> 8, size & 0xFF, frames.DATA, 0, stream.id))
        self._pieces.append(payload)

    def resize(self, initial_window: int) -> int:
        """The peer's new initial window; returns the largest window that comes of it."""
        change = initial_window - self.initial_window
        self.initial_window = initial_window
        largest = 0
        for stream in self.streams.values():
            stream.window += change
            largest = max(largest, stream.window)
        return largest

    # Ends

    def _ended(self, stream: Stream) -> None:
        """Our side of the stream is over."""
        stream.local_open = False
        self.resets.earn()
        if stream.remote_open:
            # It need not send the rest of its request (RFC 9113, 8.1).
            self.emit(frames.reset(stream.id, NO_ERROR))
            self._abandoned.append(stream.id)
        self.forget(stream)

    def forget(self, stream: Stream) -> None:
        """The stream is over, for whatever reason: nothing more will be sent on it."""
        stream.local_open = stream.remote_open = False
        self.streams.pop(stream.id, None)
        if stream.queue:
            self.queued -= stream.queued
            stream.queue.clear()
            stream.queued = 0
            self._waiting.pop(stream, None)
