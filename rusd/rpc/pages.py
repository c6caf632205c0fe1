"""Pages: handlers of HTTP requests that are not gRPC, over HTTP/1.1 and HTTP/2.

The door reads the request, calls the page of its path, and writes what comes back. Pages see no
socket and no HTTP library.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from rusd.rpc.call import Caller


class BodyTooLarge(Exception):
    """The request's body exceeds the door's limit; answered with status 413."""


class BodyTimeout(Exception):
    """The request's body did not arrive in time; answered with status 408."""


class BodyMalformed(Exception):
    """The request's body breaks the rules of HTTP; answered with status 400."""


class BodyMemoryExceeded(Exception):
    """The bodies of all requests hold too much memory; answered with status 503."""


class RequestBody(Protocol):
    """The body of one request; read once, by either method."""

    async def read(self) -> bytes:
        """Returns the whole body. Raises BodyTooLarge, BodyTimeout, BodyMalformed or
        BodyMemoryExceeded.
        """

    def chunks(self) -> AsyncIterator[bytes]:
        """Yields the body as it arrives, without limits of size and time; the client sends only as
        fast as it is read.
        """


#: Runs a piece of work in the time of a connection, perhaps at once.
Later = Callable[[Callable[[], None]], None]


@dataclass(slots=True)
class PageRequest:
    """One HTTP request."""

    method: str
    #: Decoded, with its first slash.
    path: str
    #: As it was sent.
    raw_path: str
    query: Mapping[str, list[str]]
    #: Names in lowercase; the first value of a name that is repeated. `host` is the authority of
    #: the target, if it has one.
    headers: Mapping[str, str]
    body: RequestBody
    caller: Caller
    #: For work on the response that a result wakes: of one result many requests may wait. None if
    #: the connection has no time of its own; one piece at a time.
    later: Later | None = None


@dataclass(slots=True)
class PageResponse:
    """One HTTP response.

    A body of bytes is sent with its length. An iterator is asked for its next chunk when the client
    has room for it, and closed (`aclose`) at the end, or when the client goes away.
    """

    status: int
    headers: Sequence[tuple[str, str]] = ()
    body: bytes | AsyncIterator[bytes] = b""


#: Cancelled when its client goes away. What it raises is answered with status 500 and logged.
Page = Callable[[PageRequest], Awaitable[PageResponse]]

Respond = Callable[[PageResponse], None]

#: A page that answers most requests without a task. Called with a request, its whole body, and what
#: takes the response, perhaps at once. Returns what cancels the request when its client goes away;
#: None if the request is left to the `Page` of the path.
DirectPage = Callable[[PageRequest, bytes, Respond], Callable[[], None] | None]


def nothing_to_cancel() -> None:
    """For a request whose response was there at once."""
