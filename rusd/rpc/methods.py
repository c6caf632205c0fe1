"""The table of methods: what the door calls for each gRPC path."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message

from rusd.base.distribution import Distribution, exponential
from rusd.rpc.call import Call
from rusd.rpc.errors import Code
from rusd.rpc.responses import Response
from rusd.rpc.streams import ResponseStream, StreamHandler

#: Upper bounds of the buckets of `CallCounts.waits`: 0.1 ms to 5.7 s.
_WAITS = exponential(0.0001, 1.5, 28)


class CallCounts:
    """Calls and messages of one method, counted by the door."""

    __slots__ = (
        "finished",
        "received_bytes",
        "seconds",
        "sent_bytes",
        "started",
        "stream_received",
        "stream_sent",
        "waits",
    )

    def __init__(self) -> None:
        self.started = 0
        #: By status code.
        self.finished = [0] * len(Code)
        #: Messages of streams, from and to clients.
        self.stream_received = 0
        self.stream_sent = 0
        #: Bytes of all messages, without their frames.
        self.received_bytes = 0
        self.sent_bytes = 0
        #: Seconds of finished calls (`guards/timing.py`); None: not measured.
        self.seconds: Distribution | None = None
        #: Seconds of unary calls over gRPC whose response came later.
        self.waits = Distribution(_WAITS)

    def start(self) -> None:
        """A call has started."""
        self.started += 1

    def finish(self, code: int) -> None:
        """A call has finished with `code`."""
        self.finished[code] += 1


def accept(request: Any) -> None:
    """Accepts every request: the validation of a method without one of its own."""


@dataclass(frozen=True, slots=True)
class Unary:
    """One request, one response."""

    request: type[Message]
    call: Callable[[Any, Call], Response]
    #: Raises the EtcdError of a malformed request (see `guards/validation.py`).
    validate: Callable[[Any], object] = accept
    counts: CallCounts = field(default_factory=CallCounts)
    #: Reads a request, as `request.FromString`; None: that does.
    decode: Callable[[bytes], Any] | None = None
    #: Reads a response, for the JSON gateway; None: the `FromString` of its class does.
    decode_response: Callable[[bytes], Message] | None = None


@dataclass(frozen=True, slots=True)
class ServerStream:
    """One request, many responses."""

    request: type[Message]
    open: Callable[[Any, Call, ResponseStream], StreamHandler]
    validate: Callable[[Any], object] = accept
    counts: CallCounts = field(default_factory=CallCounts)


@dataclass(frozen=True, slots=True)
class BidiStream:
    """Many requests, many responses."""

    request: type[Message]
    open: Callable[[Call, ResponseStream], StreamHandler]
    counts: CallCounts = field(default_factory=CallCounts)


Method = Unary | ServerStream | BidiStream

#: Full gRPC path ("/etcdserverpb.KV/Put") -> method.
Methods = Mapping[str, Method]
