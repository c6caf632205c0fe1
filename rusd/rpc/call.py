"""A call as a service method sees it, besides its request."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass


@dataclass(slots=True)
class Call:
    """Metadata, limits and origin of one call; filled by the door."""

    #: Request metadata: lowercase keys, ASCII values. Keys with the suffix "-bin" are left out.
    metadata: Mapping[str, str]
    #: The request message as received (empty for bidirectional streams); proposals reuse it.
    raw: bytes
    #: Loop time in seconds at which the client's deadline passes; None without a deadline.
    deadline: float | None
    #: Remote address, such as "127.0.0.1:4711".
    peer: str
    #: Returns None while the client reads its responses; else an awaitable that resolves when the
    #: connection may queue a long response again. A method that makes one asks first.
    wait_writable: Callable[[], Awaitable[None] | None] = lambda: None
