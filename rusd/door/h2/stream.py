"""One stream: its state, its windows, its send queue, and the bytes buffered for its request."""

from collections import deque
from typing import Protocol

from rusd.door.h2.states import MAY_RECEIVE, MAY_SEND, StreamState
from rusd.door.ports import Receiver

#: Send queue of a stream: the high-water mark, and the mark below which it is writable again.
HIGH_BYTES = 1 << 20
LOW_BYTES = HIGH_BYTES // 2

#: The queue of streams that have none: most never need one.
NOTHING: deque[bytes] = deque(maxlen=0)


class SendSide(Protocol):
    """The outbound half of a connection, as its streams use it."""

    def complete(self, stream: "Stream", head: bytes, payload: bytes, tail: bytes) -> None:
        """Queue a whole response."""

    def headers(self, stream: "Stream", encoded: bytes, *, end: bool) -> None:
        """Queue a header block."""

    def data(self, stream: "Stream", payload: bytes) -> None:
        """Queue bytes of the body."""

    def end(self, stream: "Stream", tail: bytes) -> None:
        """Queue the trailers, which end the stream."""

    def reset(self, stream: "Stream", code: int) -> None:
        """Send RST_STREAM, and drop what is queued."""


class ReceiveSide(Protocol):
    """The inbound half of a connection, as its streams use it."""

    def keep(self, stream: "Stream", size: int) -> None:
        """Count bytes that the stream holds."""

    def needs(self, stream: "Stream", missing: int) -> None:
        """Raise the window to admit the missing bytes."""

    def process(self, stream: "Stream") -> None:
        """Count a message that a service processes."""

    def passed(self, stream: "Stream", size: int) -> None:
        """Return the window of bytes that were never kept."""

    def consumed(self, stream: "Stream", size: int) -> None:
        """Return the window of these bytes to the client."""


class Stream:
    """The server's end of one stream. Data sent after the end or a reset is dropped."""

    __slots__ = (
        "_inbound",
        "_outbound",
        "expected",
        "full",
        "id",
        "kept",
        "missing",
        "opened",
        "outstanding",
        "overhead",
        "processing",
        "queue",
        "queued",
        "receive_window",
        "receiver",
        "reserved",
        "sent",
        "state",
        "trailers",
    )

    def __init__(
        self,
        ident: int,
        inbound: ReceiveSide,
        outbound: SendSide,
        receive_window: int,
        opened: float,
    ) -> None:
        self.id = ident
        #: Time of the read that opened it.
        self.opened = opened
        self._inbound = inbound
        self._outbound = outbound
        #: Changed by the rows of `states.py` only.
        self.state = StreamState.OPEN
        self.receiver: Receiver | None = None
        #: Bytes of data sent less the client's window updates: the send window is the client's
        #: initial window less this, so that a new initial window costs O(1).
        self.sent = 0
        #: Bytes the client may still send.
        self.receive_window = receive_window
        #: Bytes of the declared body yet to come; -1 if the client declared none.
        self.expected = -1
        #: Bytes counted for the stream beside its body (see `Inbound.overhead`).
        self.overhead = 0
        # Bytes of the request, see `inbound.py`:
        #: buffered by the receiver; of a whole request in service; that its message lacks;
        self.kept = 0
        self.processing = 0
        self.missing = 0
        #: of the message that has a reservation (0: none), and what that has yet to receive.
        self.reserved = 0
        self.outstanding = 0
        #: Data that waits for a window, its size, and the trailers that follow it.
        self.queue: deque[bytes] = NOTHING
        self.queued = 0
        self.full = False
        self.trailers: bytes | None = None

    def complete(self, head: bytes, payload: bytes, tail: bytes) -> None:
        """Send a whole response: header block, body, trailer block."""
        if MAY_SEND[self.state]:
            self._outbound.complete(self, head, payload, tail)

    def head(self, encoded: bytes) -> None:
        """Send the header block of a response whose body follows with `send`."""
        if MAY_SEND[self.state]:
            self._outbound.headers(self, encoded, end=False)

    def send(self, payload: bytes) -> None:
        """Send a piece of the body, or queue it until the client raises its window."""
        if MAY_SEND[self.state] and self.trailers is None:
            self._outbound.data(self, payload)

    def end(self, tail: bytes) -> None:
        """Send trailers (b"": none) after the queue; without a `head` they are the whole
        response.
        """
        if MAY_SEND[self.state] and self.trailers is None:
            self._outbound.end(self, tail)

    def reset(self, code: int) -> None:
        """Send RST_STREAM and drop the queue."""
        if MAY_SEND[self.state]:
            self._outbound.reset(self, code)

    def keep(self, size: int) -> None:
        """Count `size` bytes of the body as buffered."""
        self._inbound.keep(self, size)

    def needs(self, missing: int) -> None:
        """Raise the window for a message that lacks `missing` bytes."""
        if MAY_RECEIVE[self.state]:
            self._inbound.needs(self, missing)

    def process(self) -> None:
        """Count the buffered bytes as a whole request that a service processes."""
        self._inbound.process(self)

    def passed(self, size: int) -> None:
        """Release `size` bytes that were never kept, since they were read at once."""
        self._inbound.passed(self, size)

    def consumed(self, size: int) -> None:
        """Release `size` buffered bytes, so that the client may send as many again."""
        self._inbound.consumed(self, size)
