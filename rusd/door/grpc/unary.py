"""A unary call: one request message, one response or refusal.

Nearly always the whole request is one DATA frame, and the method runs as the frame is read: no
task, and a callback only if the service responds later. What a service raises ends its own call
alone: a refusal with its status, anything else as UNKNOWN with a line in the log.
"""

import asyncio
from time import monotonic
from typing import Any

from google.protobuf.message import DecodeError

from rusd.base.chunks import Chunks, Encoded, size_of
from rusd.base.logs import get_logger
from rusd.base.pending import Pending
from rusd.door.grpc import messages, status
from rusd.door.grpc.call_states import UnaryState
from rusd.door.grpc.door_state import CallConnection
from rusd.door.grpc.messages import PREFIX_BYTES, MessageReader, whole
from rusd.door.grpc.request_headers import CallHeaders
from rusd.door.h2 import Stream
from rusd.rpc.call import Call
from rusd.rpc.errors import (
    CANCELED,
    DEADLINE_EXCEEDED,
    STOPPED,
    Code,
    Definition,
    EtcdError,
    as_etcd,
)
from rusd.rpc.methods import Unary

log = get_logger(__name__)

#: grpc-go's two texts for a message that cannot be decoded.
IN_CALL = "error unmarshalling request:"
IN_STREAM = "failed to unmarshal the received message"

# (By names of this module: to find a member in its class takes longer.)
RECEIVING, READY, RUNNING, ENDED = UnaryState
OK = Code.OK

#: Bytes up to which a message is copied behind its prefix, to be one DATA frame with it.
COPIED_BYTES = 64 << 10

_ENCODED = (bytes, Chunks)
#: Responses to come that say when they are there; other awaitables need a task.
_SETTLES = (Pending, asyncio.Future)

BUG = Definition(Code.UNKNOWN, "internal error")
#: The request ended without a message, or within one.
_NOTHING = Definition(Code.UNKNOWN, "EOF")
_CUT_OFF = Definition(Code.UNKNOWN, "unexpected EOF")


def undecodable(error: DecodeError, failure: str) -> EtcdError:
    """Return grpc-go's error for an undecodable message."""
    return EtcdError(Code.INTERNAL, f"grpc: {failure} {error}")


def _size(message: Encoded) -> int:
    return size_of(message) if isinstance(message, Chunks) else len(message)


class UnaryCall:
    """One unary call; the `Receiver` of its stream. `call_states.py` has its states."""

    __slots__ = (
        "_began",
        "_connection",
        "_deadline",
        "_headers",
        "_inbox",
        "_method",
        "_pending",
        "_raw",
        "_slot",
        "_state",
        "_stream",
        "_writable",
    )  # fmt: skip

    def __init__(
        self, connection: CallConnection, stream: Stream, headers: CallHeaders, method: Unary
    ) -> None:
        self._connection = connection
        self._stream = stream
        self._headers = headers
        self._method = method
        self._inbox: MessageReader | None = None
        #: The request, until the method has it; longer if it may have to be logged.
        self._raw: bytes | None = None
        #: When the method began that responds later.
        self._began = 0.0
        self._pending: Any = None
        #: What a long response waits for before it is made.
        self._writable: Pending[None] | None = None
        self._state = RECEIVING
        self._deadline: float | None = None
        self._slot = 0
        door = connection.door
        method.counts.start()
        if headers.timeout is not None:
            self._deadline = connection.now + headers.timeout
            self._slot = door.deadlines.add(connection, self, self._deadline)

    # The request

    def data(self, chunk: bytes, ended: bool) -> None:
        if self._state is not RECEIVING:
            return
        if ended and self._inbox is None:
            raw = whole(chunk, self._connection.door.limit)
            if raw is not None:
                self._run(raw)
                return
        self._collect(chunk, ended)

    def _collect(self, chunk: bytes, ended: bool) -> None:
        inbox = self._inbox
        if inbox is None:
            inbox = self._inbox = MessageReader(self._connection.door.limit, self._headers.encoding)
        stream = self._stream
        stream.keep(len(chunk))
        inbox.feed(chunk)
        try:
            raw = inbox.next()
        except EtcdError as error:
            self._refuse(error)
            return
        if raw is not None:
            self._raw = raw
            self._state = READY
            if len(raw) > stream.kept:
                stream.keep(len(raw) - stream.kept)  # unpacked
            stream.process()
            if ended:
                self._run(raw)
            else:
                # END_STREAM usually follows in the same read; if not, it is not waited for.
                self._connection.do(self._start)
        elif ended:
            self._refuse(_CUT_OFF if len(inbox) else _NOTHING)
        else:
            stream.needs(inbox.missing)

    def _start(self) -> None:
        if self._state is READY:
            assert self._raw is not None
            self._run(self._raw)

    # The answer

    def _run(self, raw: bytes) -> None:
        self._state = RUNNING
        method, connection = self._method, self._connection
        method.counts.received_bytes += len(raw)
        try:
            request = (method.decode or method.request.FromString)(raw)
        except DecodeError as error:
            self._refuse(undecodable(error, IN_CALL))
            return
        try:
            call = Call(
                self._headers.metadata, raw, self._deadline, connection.caller, self._wait_writable
            )
            answer = method.call(request, call)
        except Exception as error:  # noqa: BLE001
            # A refusal or a fault of the service: ends this call only.
            self._failed(error)
        else:
            if isinstance(answer, _ENCODED):
                self._answer(answer)
                return
            if not isinstance(answer, _SETTLES):
                answer = asyncio.ensure_future(answer)
            self._pending = answer
            if connection.door.request_log is not None:
                self._began = monotonic()
                self._raw = raw
            answer.add_done_callback(self._done)

    def _wait_writable(self, *, small: bool = False) -> Pending[None] | None:
        self._writable = self._connection.wait_writable(small=small)
        return self._writable

    def _done(self, pending: Any) -> None:
        if self._state is ENDED:
            if not pending.cancelled():
                pending.exception()  # retrieved: asyncio warns about unretrieved ones
            return
        if self._began:
            failed = pending.cancelled() or pending.exception() is not None
            self._measure(0 if failed else _size(pending.result()))
        try:
            message = pending.result()
        except asyncio.CancelledError:
            # The service cancelled the response: the member stops, and the client must learn it.
            self._refuse(STOPPED)
        except BaseException as error:  # noqa: BLE001
            # A refusal or a fault of the service: ends this call only.
            self._failed(error)
            # Its frames hold `pending`, which holds it: a cycle.
            error.__traceback__ = None
        else:
            self._answer(message)

    def _measure(self, size: int) -> None:
        """Count how long the response took, of `size` bytes, and log it if that was long."""
        door = self._connection.door
        seconds = monotonic() - self._began
        self._method.counts.waits.observe(seconds)
        if door.request_log is None or seconds < door.request_log.threshold:
            return
        remote = self._connection.caller.address
        door.request_log.slow(self._headers.path, self._raw or b"", remote, seconds, size)

    def _answer(self, message: Encoded) -> None:
        if isinstance(message, Chunks):
            self._answer_in_parts(message)
            return
        size = len(message)
        if size > messages.SEND_AT_MOST:
            self._refuse(messages.too_long(size, unary=True))
            return
        if size > COPIED_BYTES:
            self._answer_in_parts(Chunks((b"", message)))
            return
        self._finish(OK)
        self._method.counts.sent_bytes += size
        prefix = size.to_bytes(PREFIX_BYTES, "big")
        self._stream.complete(status.HEAD, prefix + message, status.OK)

    def _answer_in_parts(self, parts: Chunks) -> None:
        size = size_of(parts)
        if size > messages.SEND_AT_MOST:
            self._refuse(messages.too_long(size, unary=True))
            return
        self._finish(OK)
        self._method.counts.sent_bytes += size
        prefix = size.to_bytes(PREFIX_BYTES, "big")
        stream = self._stream
        stream.head(status.HEAD)
        stream.send(prefix + b"".join(parts[:1]))
        for part in parts[1:]:
            stream.send(part)
        stream.end(status.OK)

    def _failed(self, error: BaseException) -> None:
        refusal = as_etcd(error)
        if refusal is None:
            log.error("a call failed", exc_info=error, extra=self._named())
        self._refuse(refusal or BUG)

    def _named(self) -> dict[str, Any]:
        return {"fields": {"method": self._headers.path}}

    def _refuse(self, error: EtcdError | Definition) -> None:
        self._finish(error.code)
        self._stream.end(status.trailers_only(error.code, error.message))

    # Ends

    def expired(self) -> None:
        """The deadline has passed."""
        if self._state is not ENDED:
            if self._began:
                self._measure(0)
            self._refuse(DEADLINE_EXCEEDED)
            self._cancel()

    def aborted(self) -> None:
        if self._state is not ENDED:
            if self._began:
                self._measure(0)
            self._finish(CANCELED.code)
            self._cancel()

    def drained(self) -> None:
        """Does nothing: there is only one response."""

    def _cancel(self) -> None:
        if self._pending is not None:
            self._pending.cancel()
        if self._writable is not None:
            self._writable.cancel()

    def _finish(self, code: int) -> None:
        self._state = ENDED
        connection = self._connection
        if self._slot:
            connection.door.deadlines.remove(connection, self, self._slot)
        if self._inbox is not None:
            self._inbox = self._raw = None
            self._stream.consumed(self._stream.kept)
        self._method.counts.finish(code)
