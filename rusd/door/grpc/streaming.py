"""A streaming call: messages in while the service accepts them, responses out in order.

One object stands between a service's callbacks (`rusd/rpc/streams.py`) and the HTTP/2 stream: it is
the service's `ResponseStream` and the `Receiver` of the client's messages. A client that does not
read its responses is not read from: its messages stay in its flow-control window.
"""

from typing import Any

from google.protobuf.message import DecodeError

from rusd.base.chunks import WHOLE_BYTES, Chunks, Encoded, size_of
from rusd.base.logs import get_logger
from rusd.door.grpc import messages, status
from rusd.door.grpc.call_states import RequestState, ResponseState
from rusd.door.grpc.door_state import CallConnection
from rusd.door.grpc.messages import PREFIX_BYTES, MessageReader
from rusd.door.grpc.request_headers import CallHeaders
from rusd.door.grpc.unary import BUG, IN_STREAM, undecodable
from rusd.door.h2 import Stream
from rusd.door.h2.stream import HIGH_BYTES as HIGH_BYTES
from rusd.rpc.call import Call
from rusd.rpc.errors import CANCELED, DEADLINE_EXCEEDED, Code, Definition, EtcdError, as_etcd
from rusd.rpc.methods import BidiStream, ServerStream
from rusd.rpc.streams import StreamHandler

log = get_logger(__name__)

#: Messages above this size count as memory from the moment they are sent, not only if they wait.
LARGE_BYTES = 16 << 10
#: Gathered bytes above which they are written before the turn ends: a long apply would fill the
#: buffer of a client that reads. Below `BATCH_BYTES` of `h2/outbound.py`, so that all are framed.
EARLY_BYTES = 128 << 10

NO_HEADERS, HEADERS, FINISHED, CLOSED = ResponseState

_CUT_OFF = Definition(Code.INTERNAL, "unexpected EOF")


class StreamCall:
    """One streaming call. `call_states.py` has its states."""

    __slots__ = (
        "__weakref__",
        "_code",
        "_connection",
        "_counted",
        "_deadline",
        "_early_above",
        "_gathered",
        "_gathered_bytes",
        "_handler",
        "_headers",
        "_inbox",
        "_method",
        "_request",
        "_response",
        "_slot",
        "_stream",
    )  # fmt: skip

    def __init__(
        self,
        connection: CallConnection,
        stream: Stream,
        headers: CallHeaders,
        method: BidiStream | ServerStream,
    ) -> None:
        self._connection = connection
        self._stream = stream
        self._headers = headers
        self._method = method
        self._handler: StreamHandler | None = None
        self._inbox = MessageReader(connection.door.limit, headers.encoding)
        #: Messages of this turn, each behind its prefix: they are sent together, in one frame if
        #: they fit. (One message may go to a hundred streams: it is not copied for each.)
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0
        #: Gathered bytes above which they are written early, or the next attempt is made.
        self._early_above = EARLY_BYTES
        #: Bytes of them counted in the memory budget.
        self._counted = 0
        self._request = RequestState.OPEN
        self._response = NO_HEADERS
        self._code: int = Code.OK
        self._deadline: float | None = None
        self._slot = 0
        door = connection.door
        method.counts.start()
        door.streams[self] = None
        if headers.timeout is not None:
            self._deadline = connection.now + headers.timeout
            self._slot = door.deadlines.add(connection, self, self._deadline)
        if isinstance(method, BidiStream):
            self._open(lambda: method.open(self._call(b""), self))

    def _call(self, raw: bytes) -> Call:
        return Call(self._headers.metadata, raw, self._deadline, self._connection.caller)

    def _open(self, open_stream: Any) -> None:
        """Open the stream in the service."""
        try:
            self._handler = open_stream()
        except Exception as error:  # noqa: BLE001
            # A refusal or a fault of the service: ends this call only.
            self.finish(error)

    # ResponseStream

    def send(self, message: Encoded) -> None:
        if self._response >= FINISHED:
            return
        size = size_of(message) if isinstance(message, Chunks) else len(message)
        if size > messages.SEND_AT_MOST:
            self.finish(messages.too_long(size))
            return
        if not self._gathered:
            self._connection.gather(self)
        prefix = size.to_bytes(PREFIX_BYTES, "big")
        self._gathered += (prefix, *message) if isinstance(message, Chunks) else (prefix, message)
        self._method.counts.stream_sent += 1
        gathered = self._gathered_bytes = self._gathered_bytes + size
        if size > LARGE_BYTES:
            # One event may go to thousands of streams in this turn.
            self._counted += size
            self._connection.door.memory.add(size)
        if gathered > self._early_above and gathered <= HIGH_BYTES:
            self._early_above = gathered + EARLY_BYTES
            self._connection.write_early(self)

    def flush(self) -> None:
        """Pass the gathered messages to the HTTP/2 stream."""
        gathered, size = self._gathered, self._gathered_bytes
        if not gathered:
            return
        self._gathered, self._gathered_bytes, self._early_above = [], 0, EARLY_BYTES
        counts = self._method.counts
        counts.sent_bytes += size
        self._uncount()
        if self._response is NO_HEADERS:
            self._response = HEADERS
            self._stream.head(status.HEAD)
        if size > WHOLE_BYTES:
            for part in gathered:
                self._stream.send(part)
        else:
            self._stream.send(b"".join(gathered))
        if size > HIGH_BYTES and not self._stream.full:
            self.drained()

    def _uncount(self) -> None:
        """Uncount the gathered messages: the stream counts them now, or they were dropped."""
        if self._counted:
            self._connection.door.memory.add(-self._counted)
            self._counted = 0

    def ready(self) -> bool:
        if self._stream.full or self._gathered_bytes > HIGH_BYTES:
            return False
        memory = self._connection.door.memory
        # (As `above_half`, without its call for each message.)
        if memory.held > memory.half and self._connection.exceeds_share():
            memory.wait_for_space(self.drained)
            return False
        return True

    def waiting(self) -> int:
        return self._gathered_bytes + self._stream.queued

    def finish(self, error: Exception | None = None) -> None:
        if self._response >= FINISHED:
            return
        self.flush()
        if self._response >= FINISHED:
            return  # the service finished the stream during the flush
        begun = self._response is HEADERS
        self._response = FINISHED
        told = None if error is None else self._status(error)
        self._code = Code.OK if told is None else told.code
        self._stream.end(status.last_headers(told, begun=begun))
        # Not at once: a callback of the service, or `open`, may be running.
        self._connection.do(self._close)

    def _status(self, error: Exception) -> EtcdError:
        refusal = as_etcd(error)
        if refusal is None:
            named = {"fields": {"method": self._headers.path}}
            log.error("a stream failed", exc_info=error, extra=named)
        return refusal or BUG()

    # Receiver

    def data(self, chunk: bytes, ended: bool) -> None:
        if ended:
            self._request = RequestState.ENDED
        if self._response >= FINISHED:
            return
        if self._handler is not None and not ended and self.ready():
            message = self._inbox.at_once(chunk)
            if message is not None:
                self._stream.passed(len(chunk))
                try:
                    self._received(message)
                except Exception as error:  # noqa: BLE001
                    # A refusal or a fault of the service: ends this call only.
                    self.finish(error)
                return
        self._stream.keep(len(chunk))
        self._inbox.feed(chunk)
        self._deliver()

    def drained(self) -> None:
        if self._handler is not None and self._response < FINISHED:
            try:
                self._handler.drained()
            except Exception as error:  # noqa: BLE001
                # A refusal or a fault of the service: ends this call only.
                self.finish(error)
        self._deliver()

    def aborted(self) -> None:
        self._gathered.clear()
        self._uncount()
        if self._response < FINISHED:
            self._response = FINISHED
            self._code = CANCELED.code
            self._connection.do(self._close)

    def _deliver(self) -> None:
        """Pass whole messages to the service while it has room for responses and the connection has
        time left.
        """
        spent = self._connection.door.budget.spent
        try:
            while self._response < FINISHED and self.ready():
                before = len(self._inbox)
                message = self._inbox.next()
                if message is None:
                    break
                self._received(message)
                self._stream.consumed(before - len(self._inbox))
                if spent():
                    self._connection.do(self._deliver)
                    return
            else:
                return
            if before:
                self._stream.needs(self._inbox.missing)
            if self._request is RequestState.ENDED:
                self._half_closed()
        except Exception as error:  # noqa: BLE001
            # A refusal or a fault of the service: ends this call only.
            self.finish(error)

    def _received(self, raw: bytes) -> None:
        method = self._method
        method.counts.stream_received += 1
        method.counts.received_bytes += len(raw)
        try:
            request = method.request.FromString(raw)
        except DecodeError as error:
            raise undecodable(error, IN_STREAM) from error
        if self._handler is not None:
            if isinstance(method, BidiStream):
                self._handler.received(request)
        elif isinstance(method, ServerStream):
            self._handler = method.open(request, self._call(raw), self)

    def _half_closed(self) -> None:
        self._request = RequestState.DELIVERED
        if len(self._inbox) or self._handler is None:
            raise _CUT_OFF()
        self._handler.half_closed()

    # Ends

    def expired(self) -> None:
        """The deadline has passed."""
        self.finish(DEADLINE_EXCEEDED())

    def _close(self) -> None:
        """Tell the service that the stream has ended: once, and last."""
        if self._response is CLOSED:
            return
        self._response = CLOSED
        door = self._connection.door
        del door.streams[self]
        door.memory.forget(self.drained)
        if self._slot:
            door.deadlines.remove(self._connection, self, self._slot)
        self._inbox.clear()
        self._stream.consumed(self._stream.kept)
        # Handler and stream refer to each other: the garbage collector alone would free them.
        handler, self._handler = self._handler, None
        if handler is not None:
            try:
                handler.closed()
            except Exception:
                log.exception("a stream failed", extra={"fields": {"method": self._headers.path}})
        self._method.counts.finish(self._code)
