"""A streaming call: messages in while the service has room for them, messages out in order.

One object stands between a service's callbacks (`rusd/rpc/streams.py`) and the HTTP/2 stream: it is
the service's `ResponseStream` and the `Receiver` of the client's messages. A client that does not
read is not read from: what it sends stays in its window.
"""

from typing import TYPE_CHECKING, Any

from rusd.base.logs import get_logger
from rusd.door.grpc import messages, status
from rusd.door.grpc.messages import Unframer, framed
from rusd.door.grpc.request_headers import Opening
from rusd.door.grpc.unary import BUG, IN_STREAM, decode
from rusd.door.h2 import Stream
from rusd.door.h2.stream import HIGH_BYTES as HIGH_BYTES
from rusd.rpc.call import Call
from rusd.rpc.errors import CANCELED, DEADLINE_EXCEEDED, Code, Definition, EtcdError, as_etcd
from rusd.rpc.methods import BidiStream, ServerStream
from rusd.rpc.streams import StreamHandler

if TYPE_CHECKING:
    from rusd.door.grpc.connection import Channel

log = get_logger(__name__)

#: Messages above this size count as memory from the moment they are sent, not only if they wait.
LARGE_BYTES = 16 << 10

_CUT_OFF = Definition(Code.INTERNAL, "unexpected EOF")


class StreamCall:
    """One open stream: ResponseStream of the service, Receiver of the connection."""

    __slots__ = (
        "__weakref__",
        "_basket",
        "_begun",
        "_channel",
        "_code",
        "_counted",
        "_deadline",
        "_ended",
        "_finished",
        "_gathered",
        "_gathered_bytes",
        "_handler",
        "_inbox",
        "_method",
        "_opening",
        "_over",
        "_stream",
    )  # fmt: skip

    def __init__(
        self,
        channel: "Channel",
        stream: Stream,
        opening: Opening,
        method: BidiStream | ServerStream,
    ) -> None:
        self._channel = channel
        self._stream = stream
        self._opening = opening
        self._method = method
        self._handler: StreamHandler | None = None
        self._inbox = Unframer(channel.door.limit, opening.encoding)
        #: Messages of this turn: they go out together, in one frame if they fit.
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0
        #: Bytes of them that the budget of memory knows of.
        self._counted = 0
        #: The client has ended its side; the head of the answer is sent.
        self._ended = False
        self._begun = False
        self._finished = False
        self._over = False
        self._code: int = Code.OK
        self._deadline: float | None = None
        self._basket = 0
        door = channel.door
        method.counts.start()
        door.streams[self] = None
        if opening.timeout is not None:
            self._deadline = channel.now + opening.timeout
            self._basket = door.deadlines.add(channel, self, self._deadline)
        if isinstance(method, BidiStream):
            self._guard(lambda: method.open(self._call(b""), self))

    def _call(self, raw: bytes) -> Call:
        return Call(self._opening.metadata, raw, self._deadline, self._channel.peer)

    def _guard(self, opening: Any) -> None:
        """Let the service open the stream."""
        try:
            self._handler = opening()
        except Exception as error:  # noqa: BLE001
            # A refusal or a fault of the service: ends this call only.
            self.finish(error)

    # ResponseStream

    def send(self, message: bytes) -> None:
        if self._finished:
            return
        if len(message) > messages.SEND_AT_MOST:
            self.finish(messages.too_long(len(message)))
            return
        if not self._gathered:
            self._channel.gather(self)
        self._gathered.append(framed(message))
        self._gathered_bytes += len(message)
        if len(message) > LARGE_BYTES:
            # One event may go to thousands of streams in this turn.
            self._counted += len(message)
            self._channel.door.memory.add(len(message))

    def flush(self) -> None:
        """Hand what was gathered to the connection."""
        gathered, size = self._gathered, self._gathered_bytes
        if not gathered:
            return
        self._gathered, self._gathered_bytes = [], 0
        self._uncount()
        if not self._begun:
            self._begun = True
            self._stream.head(status.HEAD)
        self._stream.send(b"".join(gathered))
        if size > HIGH_BYTES and not self._stream.full:
            self.drained()

    def _uncount(self) -> None:
        """What was gathered is counted elsewhere now, or gone."""
        if self._counted:
            self._channel.door.memory.add(-self._counted)
            self._counted = 0

    def ready(self) -> bool:
        if self._stream.full or self._gathered_bytes > HIGH_BYTES:
            return False
        memory = self._channel.door.memory
        if memory.held > memory.half and self._channel.lacks_room():
            memory.wait(self.drained)
            return False
        return True

    def finish(self, error: Exception | None = None) -> None:
        if self._finished:
            return
        self.flush()
        if self._finished:
            return  # by what the flush let the service do
        self._finished = True
        told = None if error is None else self._status(error)
        self._code = Code.OK if told is None else told.code
        self._stream.end(status.ending(told, begun=self._begun))
        # Not at once: the service may be in the midst of a callback, or of opening.
        self._channel.do(self._close)

    def _status(self, error: Exception) -> EtcdError:
        refusal = as_etcd(error)
        if refusal is None:
            named = {"fields": {"method": self._opening.path}}
            log.error("a stream failed", exc_info=error, extra=named)
        return refusal or BUG()

    # Receiver

    def data(self, chunk: bytes, ended: bool) -> None:
        self._ended = ended
        if self._finished:
            return
        self._stream.keep(len(chunk))
        self._inbox.feed(chunk)
        self._deliver()

    def drained(self) -> None:
        if self._handler is not None and not self._finished:
            try:
                self._handler.drained()
            except Exception as error:  # noqa: BLE001
                # A refusal or a fault of the service: ends this call only.
                self.finish(error)
        self._deliver()

    def aborted(self) -> None:
        self._gathered.clear()
        self._uncount()
        if not self._finished:
            self._finished = True
            self._code = CANCELED.code
            self._channel.do(self._close)

    def _deliver(self) -> None:
        """Hand over whole messages while the service has room for their answers, and the connection
        has time left for it."""
        spent = self._channel.door.budget.spent
        try:
            while not self._finished and self.ready():
                before = len(self._inbox)
                message = self._inbox.next()
                if message is None:
                    break
                self._received(message)
                self._stream.consumed(before - len(self._inbox))
                if spent():
                    self._channel.do(self._deliver)
                    return
            else:
                return
            if before:
                self._stream.needs(self._inbox.missing)
            if self._ended:
                self._half_closed()
        except Exception as error:  # noqa: BLE001
            # A refusal or a fault of the service: ends this call only.
            self.finish(error)

    def _received(self, raw: bytes) -> None:
        method = self._method
        request = decode(method.request, raw, IN_STREAM)
        if self._handler is not None:
            if isinstance(method, BidiStream):
                self._handler.received(request)
        elif isinstance(method, ServerStream):
            self._handler = method.open(request, self._call(raw), self)

    def _half_closed(self) -> None:
        self._ended = False
        if len(self._inbox) or self._handler is None:
            raise _CUT_OFF()
        self._handler.half_closed()

    # Ends

    def expired(self) -> None:
        """The deadline has passed."""
        self.finish(DEADLINE_EXCEEDED())

    def _close(self) -> None:
        """Once, and last."""
        if self._over:
            return
        self._over = True
        door = self._channel.door
        del door.streams[self]
        door.memory.forget(self.drained)
        if self._basket:
            door.deadlines.remove(self._channel, self, self._basket)
        self._inbox.clear()
        self._stream.consumed(self._stream.kept)
        if self._handler is not None:
            try:
                self._handler.closed()
            except Exception:
                log.exception("a stream failed", extra={"fields": {"method": self._opening.path}})
        self._method.counts.finish(self._code)
