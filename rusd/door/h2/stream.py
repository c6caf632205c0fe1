"""One exchange on a connection: a request coming in, an answer going out, a window for each."""

from collections import deque
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rusd.door.h2.inbound import Inbound


class Receiver(Protocol):
    """Who takes a stream's request. Its methods must not raise."""

    def data(self, chunk: bytes, ended: bool) -> None:
        """A piece of the body; `ended`: it was the last (it may be empty then). The receiver says
        `Stream.keep` if it needs more of it, and `Stream.consumed` when the client may send as
        much again."""

    def aborted(self) -> None:
        """The client reset the stream or the connection is gone. Last call, if it comes at all."""

    def drained(self) -> None:
        """What `Stream.send` had queued has gone below half the mark (`LOW_BYTES`)."""


#: A stream that queued more than this is told when the queue has shrunk to half.
HIGH_BYTES = 1 << 20
LOW_BYTES = HIGH_BYTES // 2


#: The queue of streams that have none: most never need one.
NOTHING: deque[bytes] = deque(maxlen=0)


class Stream:
    """The server's end of one stream. What is sent after its end, or after it was reset, is
    dropped: the client has been told, or is gone."""

    __slots__ = (
        "_out",
        "due",
        "expected",
        "full",
        "id",
        "kept",
        "local_open",
        "promised",
        "queue",
        "queued",
        "receive_window",
        "receiver",
        "remote_open",
        "tail",
        "used",
        "wanted",
        "weight",
        "working",
    )

    def __init__(self, ident: int, out: "Inbound", receive_window: int) -> None:
        self.id = ident
        self._out = out
        #: Bytes sent beyond what the client's window updates gave back: what is left of the
        #: client's initial window is our window, so that a new initial window costs O(1).
        self.used = 0
        #: Bytes the client may still send.
        self.receive_window = receive_window
        #: Bytes that the stream is counted with beside its body (see `Inbound.carried`).
        self.weight = 0
        #: Bytes of the body that the receiver keeps, and those of a request that is worked on; that
        #: its message lacks; of the message whose end is promised (see `inbound.py`; 0: none), and
        #: what is yet to come of that.
        self.kept = 0
        self.working = 0
        self.wanted = 0
        self.promised = 0
        self.due = 0
        self.receiver: Receiver | None = None
        #: Whether the client, and we, may still send.
        self.remote_open = True
        self.local_open = True
        #: Bytes of the declared body yet to come; -1 if the client declared none.
        self.expected = -1
        #: What waits for a window, its size, and the trailers that end the stream after it.
        self.queue: deque[bytes] = NOTHING
        self.queued = 0
        self.full = False
        self.tail: bytes | None = None

    def complete(self, head: bytes, payload: bytes, tail: bytes) -> None:
        """The whole answer: header block, body, trailer block."""
        if self.local_open:
            self._out.complete(self, head, payload, tail)

    def head(self, encoded: bytes) -> None:
        """The header block of an answer whose body follows with `send`."""
        if self.local_open:
            self._out.headers(self, encoded, end=False)

    def send(self, payload: bytes) -> None:
        """A piece of the body; queued while the client gives no window."""
        if self.local_open and self.tail is None:
            self._out.data(self, payload)

    def end(self, tail: bytes) -> None:
        """Trailers (b"": none), after what is queued; without a `head` before them they are the
        answer."""
        if self.local_open and self.tail is None:
            self._out.end(self, tail)

    def reset(self, code: int) -> None:
        """Give the stream up: RST_STREAM, and what is queued is dropped."""
        self._out.reset(self, code)

    def keep(self, size: int) -> None:
        """`size` bytes of the body stay in memory for now."""
        self._out.keep(self, size)

    def wants(self, missing: int) -> None:
        """The message at hand is complete with `missing` bytes more."""
        if self.remote_open:
            self._out.wants(self, missing)

    def works(self) -> None:
        """What is kept is a whole request, and worked on."""
        self._out.works(self)

    def consumed(self, size: int) -> None:
        """`size` bytes of the body need no more memory: the client may send as much again."""
        self._out.consumed(self, size)
