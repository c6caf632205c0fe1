"""One client's connections to all members, and the outcome that an error of a call implies."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
from google.protobuf.message import Message

from .history import Outcome

Answer = TypeVar("Answer", bound=Message)

#: Seconds a call may take.
TIMEOUT = 5.0

#: Codes with which a server refuses a request without having done anything.
_REFUSALS = frozenset(
    (
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.DATA_LOSS,
    )
)
#: grpcio's text for a request that was not sent, since there was no connection.
_NOT_SENT = "failed to connect to all addresses"

_OPTIONS = [
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 50),
    # It is also how long an attempt to connect may take. A busy member needs more than half a
    # second at times; attempts that all clients give up and make anew keep it from answering any.
    ("grpc.min_reconnect_backoff_ms", 2000),
    ("grpc.max_reconnect_backoff_ms", 300),
    ("grpc.max_receive_message_length", -1),
]


class Failure(Exception):
    """A call without an answer."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(f"{code.name}: {text}")
        self.code = code
        self.text = text

    def outcome(self, *, writes: bool) -> Outcome:
        """Returns FAILED for a read: it has no result. Returns UNKNOWN for a write, which may still
        take effect, unless it was refused or never sent.
        """
        return outcome_of(self.code, self.text) if writes else Outcome.FAILED


def outcome_of(code: grpc.StatusCode, text: str) -> Outcome:
    """Returns the outcome of a write that ended with this error."""
    if code in _REFUSALS:
        return Outcome.FAILED
    if code is grpc.StatusCode.UNAVAILABLE and text.startswith(_NOT_SENT):
        return Outcome.FAILED
    return Outcome.UNKNOWN


class Connections:
    """Channels to all members, by index."""

    def __init__(self, endpoints: Sequence[str]) -> None:
        self._channels = [grpc.insecure_channel(each, options=_OPTIONS) for each in endpoints]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        for channel in self._channels:
            channel.close()

    def call(
        self,
        member: int,
        path: str,
        request: Message,
        answer: type[Answer],
        timeout: float = TIMEOUT,
    ) -> Answer:
        """Makes one unary call. Raises Failure."""
        method = self._channels[member].unary_unary(
            path,
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString,
        )
        try:
            found: Answer = method(request, timeout=timeout)
        except grpc.RpcError as error:
            raise Failure(error.code(), error.details() or "") from None
        return found

    def begin(
        self, member: int, path: str, request: Message, answer: type[Message], timeout: float
    ) -> Any:
        """Starts a unary call. Returns a grpc.Future."""
        method = self._channels[member].unary_unary(
            path,
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString,
        )
        return method.future(request, timeout=timeout)

    def stream(
        self,
        member: int,
        path: str,
        requests: Any,
        answer: type[Answer],
        timeout: float | None = None,
    ) -> Any:
        """Open a bidirectional stream: an iterator of responses with `cancel`."""
        method = self._channels[member].stream_stream(
            path,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        return method(requests, timeout=timeout)
