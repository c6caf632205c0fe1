"""The seam between the door (gRPC on sockets) and the services (etcd's meaning).

The door decodes a request, calls the method of its path, and writes what comes back. Services know
no type of any gRPC library; the door knows no etcd semantics; either can be exchanged.

Answers are *encoded* protobuf messages: services join them from bytes that the store already holds,
so nothing is encoded twice. A refusal is a raised (or awaited) `EtcdError`.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from google.protobuf.message import Message

from rusd.rpc.errors import EtcdError


@dataclass(slots=True)
class Call:
    """What a service may know of the call besides its request."""

    #: Request metadata, keys lowercase, ASCII values ("-bin" keys carry bytes and are left out).
    metadata: Mapping[str, str]
    #: The request message as it came off the wire (empty for streams); proposals reuse it.
    raw: bytes
    #: Loop time (seconds) after which the client no longer waits; None if it set no deadline.
    deadline: float | None
    #: Remote address for logs, such as "127.0.0.1:4711".
    peer: str
    #: None while the client takes its answers; else to be awaited before a long one is made.
    room: Callable[[], Awaitable[None] | None] = lambda: None


class Parts(list[bytes]):
    """An encoded message in pieces, for one so long that joining it would hold up the loop."""


Answer = bytes | Parts | Awaitable[bytes | Parts]


class Outlet(Protocol):
    """Where a stream's messages go; the door implements it with a bounded buffer."""

    def send(self, message: bytes) -> None:
        """Queue one encoded message. Never blocks; look at `ready` first to keep memory bounded."""

    def ready(self) -> bool:
        """False while the buffer is above its high-water mark, until `StreamHandler.drained`."""

    def finish(self, error: EtcdError | None = None) -> None:
        """End the stream after what is queued: status OK, or the error's. Idempotent."""


class StreamHandler(Protocol):
    """One open stream, driven by the door with plain callbacks on the event loop."""

    def received(self, request: Any) -> None:
        """One decoded message from the client (bidirectional streams only)."""

    def half_closed(self) -> None:
        """The client will send no more messages."""

    def drained(self) -> None:
        """The outlet's buffer fell below its low-water mark."""

    def closed(self) -> None:
        """The stream is over, whoever ended it. Always the last call, exactly once."""


@dataclass(frozen=True, slots=True)
class Unary:
    """One request, one answer."""

    request: type[Message]
    call: Callable[[Any, Call], Answer]


@dataclass(frozen=True, slots=True)
class ServerStream:
    """One request, many answers."""

    request: type[Message]
    open: Callable[[Any, Call, Outlet], StreamHandler]


@dataclass(frozen=True, slots=True)
class BidiStream:
    """Many requests, many answers."""

    request: type[Message]
    open: Callable[[Call, Outlet], StreamHandler]


Method = Unary | ServerStream | BidiStream

#: Full gRPC path ("/etcdserverpb.KV/Put") -> method.
Methods = Mapping[str, Method]
