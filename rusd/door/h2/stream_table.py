"""The streams of one connection: those that are open, and the state of every other number.

Only open streams have an object. The state of a stream without one follows from its number: IDLE
above the newest, RESET if this server reset it a short while ago, else CLOSED or PASSED. Memory is
bounded by the open streams and `RESETS_REMEMBERED` numbers.
"""

from collections import OrderedDict

from rusd.door.h2.errors import PROTOCOL_ERROR, H2ConnectionError
from rusd.door.h2.states import IGNORE, STREAM, StreamEvent, StreamState, fail
from rusd.door.h2.stream import Stream

#: Streams reset by this server whose late frames are ignored.
RESETS_REMEMBERED = 1000


class StreamTable:
    """Finds the stream of a frame, and applies state changes."""

    __slots__ = ("_reset", "newest", "open")

    def __init__(self) -> None:
        self.open: dict[int, Stream] = {}
        #: The largest stream number that the client has used.
        self.newest = 0
        self._reset: OrderedDict[int, None] = OrderedDict()

    def state(self, ident: int) -> StreamState:
        """Return the state of a client's stream (odd numbers)."""
        stream = self.open.get(ident)
        if stream is not None:
            return stream.state
        if ident in self._reset:
            return StreamState.RESET
        if ident > self.newest:
            return StreamState.IDLE
        return StreamState.CLOSED if ident == self.newest else StreamState.PASSED

    def receive(self, ident: int, event: StreamEvent) -> Stream | None:
        """Apply a received frame to a stream that has been opened.

        Returns the stream, or None if the frame has no effect. Raises the error of the state table.
        """
        stream = self.open.get(ident)
        if stream is None:
            self.refuse(ident, event)
            return None
        after = STREAM[stream.state][event]
        if after is not stream.state:
            if not isinstance(after, StreamState):
                fail(after, ident)
            stream.state = after
        return stream

    def refuse(self, ident: int, event: StreamEvent) -> None:
        """Raise the error, if any, of a frame for a stream without an object."""
        if not ident & 1:
            # 0 is the connection; even numbers are for pushes, which this server does not make.
            raise H2ConnectionError(PROTOCOL_ERROR, "a frame for a stream that was never opened")
        after = STREAM[self.state(ident)][event]
        if isinstance(after, StreamState):
            return
        if after is not IGNORE:
            fail(after, ident)

    def add_reset(self, ident: int) -> None:
        """Record that RST_STREAM was sent: frames in flight are ignored."""
        self._reset[ident] = None
        if len(self._reset) > RESETS_REMEMBERED:
            self._reset.popitem(last=False)
