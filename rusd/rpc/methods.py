"""The table of methods: what the door calls for each gRPC path."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from rusd.rpc.call import Call
from rusd.rpc.responses import Response
from rusd.rpc.streams import ResponseStream, StreamHandler


@dataclass(frozen=True, slots=True)
class Unary:
    """One request, one response."""

    request: type[Message]
    call: Callable[[Any, Call], Response]


@dataclass(frozen=True, slots=True)
class ServerStream:
    """One request, many responses."""

    request: type[Message]
    open: Callable[[Any, Call, ResponseStream], StreamHandler]


@dataclass(frozen=True, slots=True)
class BidiStream:
    """Many requests, many responses."""

    request: type[Message]
    open: Callable[[Call, ResponseStream], StreamHandler]


Method = Unary | ServerStream | BidiStream

#: Full gRPC path ("/etcdserverpb.KV/Put") -> method.
Methods = Mapping[str, Method]
