"""A unary call: one request message in, one answer or refusal out.

Nearly always the whole request is one DATA frame and the call runs as the frame is read: no task,
and a callback only if the service answers later. What a service raises ends its own call alone:
a refusal with its status, anything else as UNKNOWN and a line in the log.
"""

import asyncio
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError, Message

from rusd.base.logs import get_logger
from rusd.base.pending import Pending
from rusd.door.grpc import messages, status
from rusd.door.grpc.messages import Unframer, whole
from rusd.door.grpc.request_headers import Opening
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
from rusd.rpc.responses import Chunks

if TYPE_CHECKING:
    from rusd.door.grpc.connection import Channel

log = get_logger(__name__)

#: grpc-go words a message that cannot be decoded in these two ways.
IN_CALL = "error unmarshalling request:"
IN_STREAM = "failed to unmarshal the received message"

BUG = Definition(Code.UNKNOWN, "internal error")
#: A client that ended its request without a message, or within one.
_NOTHING = Definition(Code.UNKNOWN, "EOF")
_CUT_OFF = Definition(Code.UNKNOWN, "unexpected EOF")


def decode(kind: type[Message], raw: bytes, failure: str) -> Any:
    """The message, or the EtcdError grpc-go would answer with."""
    try:
        return kind.FromString(raw)
    except DecodeError as error:
        raise EtcdError(Code.INTERNAL, f"grpc: {failure} {error}") from error


class UnaryCall:
    """One call; the receiver of its stream."""

    __slots__ = (
        "_basket", "_channel", "_deadline", "_inbox", "_method", "_opening", "_over", "_pending",
        "_raw", "_room", "_stream",
    )  # fmt: skip

    def __init__(self, channel: "Channel", stream: Stream, opening: Opening, method: Unary) -> None:
        self._channel = channel
        self._stream = stream
        self._opening = opening
        self._method = method
        self._inbox: Unframer | None = None
        self._raw: bytes | None = None
        self._pending: Any = None
        #: What a long answer waits for before it is made.
        self._room: Pending[None] | None = None
        self._over = False
        self._deadline: float | None = None
        self._basket = 0
        door = channel.door
        method.counts.start()
        if opening.timeout is not None:
            self._deadline = channel.now + opening.timeout
            self._basket = door.deadlines.add(channel, self, self._deadline)

    # The request

    def data(self, chunk: bytes, ended: bool) -> None:
        if self._over or self._raw is not None:
            return
        if ended and self._inbox is None:
            raw = whole(chunk, self._channel.door.limit)
            if raw is not None:
                self._run(raw)
                return
        self._collect(chunk, ended)

    def _collect(self, chunk: bytes, ended: bool) -> None:
        inbox = self._inbox
        if inbox is None:
            inbox = self._inbox = Unframer(self._channel.door.limit, self._opening.encoding)
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
            if len(raw) > stream.kept:
                stream.keep(len(raw) - stream.kept)  # unpacked
            stream.process()
            if ended:
                self._run(raw)
            else:
                # Its end usually comes with the bytes at hand; if not, it is not waited for.
                self._channel.do(self._start)
        elif ended:
            self._refuse(_CUT_OFF if len(inbox) else _NOTHING)
        else:
            stream.needs(inbox.missing)

    def _start(self) -> None:
        if not self._over and self._raw is not None:
            self._run(self._raw)

    # The answer

    def _run(self, raw: bytes) -> None:
        method, channel = self._method, self._channel
        try:
            request = decode(method.request, raw, IN_CALL)
            call = Call(
                self._opening.metadata, raw, self._deadline, channel.peer, self._wait_for_room
            )
            answer = method.call(request, call)
        except Exception as error:  # noqa: BLE001
            # A refusal or a fault of the service: ends this call only.
            self._failed(error)
        else:
            if isinstance(answer, bytes | Chunks):
                self._answer(answer)
            else:
                if not hasattr(answer, "add_done_callback"):
                    answer = asyncio.ensure_future(answer)
                self._pending = answer
                answer.add_done_callback(self._done)

    def _wait_for_room(self) -> Pending[None] | None:
        self._room = self._channel.room()
        return self._room

    def _done(self, pending: Any) -> None:
        if self._over:
            if not pending.cancelled():
                pending.exception()  # looked at: nobody waits for it
            return
        if pending.cancelled():
            # The service dropped the answer: it is going down, and the client must be told.
            self._refuse(STOPPED)
            return
        error = pending.exception()
        if error is None:
            self._answer(pending.result())
        else:
            self._failed(error)

    def _answer(self, message: bytes | Chunks) -> None:
        size = sum(map(len, message)) if isinstance(message, Chunks) else len(message)
        if size > messages.SEND_AT_MOST:
            self._refuse(messages.too_long(size, unary=True))
            return
        self._finish(Code.OK)
        prefix = size.to_bytes(messages.PREFIX_BYTES, "big")
        if isinstance(message, Chunks):
            self._answer_in_parts(prefix, message)
        else:
            self._stream.complete(status.HEAD, prefix + message, status.OK)

    def _answer_in_parts(self, prefix: bytes, parts: Chunks) -> None:
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
        return {"fields": {"method": self._opening.path}}

    def _refuse(self, error: EtcdError | Definition) -> None:
        self._finish(error.code)
        self._stream.end(status.alone(error.code, error.message))

    # Ends

    def expired(self) -> None:
        """The deadline has passed."""
        if not self._over:
            self._refuse(DEADLINE_EXCEEDED)
            self._let_go()

    def aborted(self) -> None:
        if not self._over:
            self._finish(CANCELED.code)
            self._let_go()

    def drained(self) -> None:
        """One answer has no more to come."""

    def _let_go(self) -> None:
        if self._pending is not None:
            self._pending.cancel()
        if self._room is not None:
            self._room.cancel()

    def _finish(self, code: int) -> None:
        self._over = True
        channel = self._channel
        if self._basket:
            channel.door.deadlines.remove(channel, self, self._basket)
        if self._inbox is not None:
            self._inbox = self._raw = None
            self._stream.consumed(self._stream.kept)
        self._method.counts.finish(code)


class Refusal:
    """A call that is no call of any method: refused at once, whatever it sends."""

    __slots__ = ()

    def data(self, chunk: bytes, ended: bool) -> None:
        """Nobody listens."""

    def aborted(self) -> None:
        """It was answered already."""

    def drained(self) -> None:
        """Nothing is queued."""


REFUSED = Refusal()
