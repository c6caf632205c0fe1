"""What a connection has to write: frames in order, data within the windows, streams in fair turns.

Frames collect in a list until the owner takes them all as one buffer. Data that no window lets
through waits in its stream. Streams whose own window is open take turns, one frame each, so that a
long answer does not hold up the short ones beside it; streams whose window is shut are not looked
at until the client raises it. A window update therefore costs one look, however many streams wait.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from rusd.door.h2 import frames
from rusd.door.h2.errors import NO_ERROR
from rusd.door.h2.rate_limit import Allowance
from rusd.door.h2.stream import HIGH_BYTES, LOW_BYTES, NOTHING, Stream

if TYPE_CHECKING:
    from rusd.door.h2.inbound import Ledger

#: Streams we ended before the client did; frames that were under way for them are dropped quietly.
ABANDONED = 1000
#: Resets a peer may cause (cancelled calls, refused streams) beyond those that answered calls earn.
RESET_BURST, RESETS_PER_SECOND = 1000, 100
#: Bytes of waiting data that are framed before the owner has written them; every look at a stream
#: counts as some, so that very small windows do not make very long batches.
BATCH_BYTES = 256 << 10
LOOK_BYTES = 256
#: A data frame from which on the client has paid for another look at its stream.
WORTHWHILE = 64
#: Frames that carry nothing.
CHATTER_BURST, CHATTER_PER_SECOND = 10_000, 1_000


class Outbound:
    """The writing half of a connection."""

    def __init__(self, wake: Callable[[], None], ledger: "Ledger", now: float) -> None:
        """`wake` is called when there is something to `take` and nothing was before.
        `ledger` is told of the bytes that wait."""
        self._wake = wake
        self._pieces: list[bytes] = []
        #: Bytes of data among them.
        self._taken_next = 0
        self.ledger = ledger
        self.streams: dict[int, Stream] = {}
        self._abandoned: OrderedDict[int, None] = OrderedDict()
        #: Streams with data that waits: in turn, and those whose window is shut.
        self.in_turn: OrderedDict[Stream, None] = OrderedDict()
        self._shut: dict[Stream, None] = {}
        #: Looks at shut streams that are paid for: by answers, and by data sent since.
        self._looks = 0
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
        #: True once the connection has ended: nothing is written any more.
        self.closed = False
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
        if self.closed:
            return
        if not self._pieces:
            self._wake()
        self._pieces.append(piece)

    # Streams' side

    def complete(self, stream: Stream, head: bytes, payload: bytes, tail: bytes) -> None:
        size = len(payload)
        if (
            size > self.window
            or size > self.initial_window - stream.used
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
            and size <= self.initial_window - stream.used
            and size <= self.max_frame
            and not stream.queue
            and not self._held
        ):
            stream.used += size
            self.chatter.earn(2)
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
            self.abandon(stream.id)
            self.forget(stream)

    # Flow

    def pump(self) -> None:
        """Send what the windows let through, one frame of each stream in turn; no more at a time
        than a socket is likely to take: the owner pumps on when it has written that."""
        while self.sendable and self._taken_next < BATCH_BYTES:
            self._taken_next += LOOK_BYTES
            stream, _ = self.in_turn.popitem(last=False)
            room = min(self.initial_window - stream.used, self.window, self.max_frame)
            if room > 0:
                self._send_queued(stream, room)
            else:
                self._shut[stream] = None

    @property
    def sendable(self) -> bool:
        """Whether data waits for nothing but its turn."""
        return bool(self.in_turn) and self.window > 0 and not self._held

    def _send_queued(self, stream: Stream, room: int) -> None:
        first = stream.queue.popleft()
        if len(first) > room:
            # A view: the rest of a long answer is not copied for every frame of it.
            view = memoryview(first)
            stream.queue.appendleft(view[room:])  # type: ignore[arg-type]
            first = view[:room]  # type: ignore[assignment]
        size = len(first)
        stream.used += size
        stream.queued -= size
        self.queued -= size
        self.ledger.add(-size)
        if size >= WORTHWHILE or not stream.queue:
            self._looks += 1
            self.chatter.earn(2)
        self._emit_data(stream, first)
        if stream.queue:
            self.in_turn[stream] = None
        elif stream.tail is not None:
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
        self.emit(frames.HEAD.pack(size >> 8, size & 0xFF, frames.DATA, 0, stream.id))
        self.emit(payload)

    def raise_window(self, stream: Stream, increment: int) -> int:
        """The client lets one stream send more; returns the window that comes of it."""
        stream.used -= increment
        window = self.initial_window - stream.used
        if window > 0 and stream in self._shut:
            del self._shut[stream]
            self.in_turn[stream] = None
        return window

    def resize(self, initial_window: int, now: float) -> bool:
        """The client's new initial window. False if it changes it again and again although the
        streams that wait for it have sent next to nothing since."""
        raised = initial_window > self.initial_window
        self.initial_window = initial_window
        if not raised or not self._shut:
            return True
        unpaid = max(0, len(self._shut) - self._looks)
        self._looks = max(0, self._looks - len(self._shut))
        self.in_turn.update(self._shut)
        self._shut.clear()
        return not unpaid or self.chatter.spend(now, unpaid)

    # Ends

    def _ended(self, stream: Stream) -> None:
        """Our side of the stream is over."""
        stream.local_open = False
        self.resets.earn()
        if stream.remote_open:
            # It need not send the rest of its request (RFC 9113, 8.1).
            self.emit(frames.reset(stream.id, NO_ERROR))
            self.abandon(stream.id)
        self.forget(stream)

    def abandon(self, ident: int) -> None:
        """The stream is over for us; what the client had sent before it knew is not its fault."""
        self._abandoned[ident] = None
        if len(self._abandoned) > ABANDONED:
            self._abandoned.popitem(last=False)

    def forget(self, stream: Stream) -> None:
        """The stream is over, for whatever reason: nothing more will be sent on it."""
        stream.local_open = stream.remote_open = False
        self.streams.pop(stream.id, None)
        # They know each other: left so, only the garbage collector would find them.
        stream.receiver = None
        if stream.queue:
            self.queued -= stream.queued
            self.ledger.add(-stream.queued)
            stream.queue = NOTHING
            stream.queued = 0
            self.in_turn.pop(stream, None)
            self._shut.pop(stream, None)
