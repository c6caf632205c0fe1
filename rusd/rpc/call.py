"""A call as a service method sees it, besides its request."""

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Protocol

from rusd.auth.records import ANONYMOUS, Identity


class WaitWritable(Protocol):
    """See `Call.wait_writable`."""

    def __call__(self, *, small: bool = False) -> Awaitable[None] | None: ...


def _writable(*, small: bool = False) -> None:
    """Never waits: for a client that reads all responses at once."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """Names in a client certificate that TLS has verified."""

    #: The subject's common name; "" if it has none.
    common_name: str
    #: Subject alternative names of every type.
    alternative_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Caller:
    """The client of one connection; shared by all its calls."""

    #: Remote address, such as "127.0.0.1:4711".
    address: str
    #: None without TLS, and for a client that sent no certificate or an unverified one.
    certificate: Certificate | None = None
    #: Whether the connection uses TLS.
    secure: bool = False


@dataclass(slots=True)
class Call:
    """Metadata, limits and origin of one call; filled by the door."""

    #: Request metadata: lowercase keys, ASCII values. Keys with the suffix "-bin" are left out.
    metadata: Mapping[str, str]
    #: The request message as received (empty for bidirectional streams); proposals reuse it.
    raw: bytes
    #: Loop time in seconds at which the client's deadline passes; None without a deadline.
    deadline: float | None
    caller: Caller
    #: Returns None while the client reads its responses; else an awaitable that resolves when the
    #: connection may queue a long response again. A method that makes one asks first.
    #: `small` (default False): the response holds one value at most.
    wait_writable: WaitWritable = _writable

    #: The caller; anonymous while authentication is off (see `guards/authentication.py`).
    identity: Identity = ANONYMOUS

    @property
    def token(self) -> str | None:
        """The caller's auth token: metadata `token`, or `authorization` as the gateway sends it."""
        token = self.metadata.get("token")
        return self.metadata.get("authorization") if token is None else token
