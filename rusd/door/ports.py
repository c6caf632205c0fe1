"""Interfaces between the files of the door: each is defined here, once.

    time_budget ──▶ Worker      a connection that has work to do
    h2          ──▶ Receiver    the call that a stream's request belongs to
    h2          ──▶ Ledger      the memory budget of all connections
    h2          ──▶ RequestMeaning   what a header block asks for
    deadlines   ──▶ TimedCall, DeadlineOwner

An arrow points from the user to what it uses. This file imports nothing of the door.
"""

from collections.abc import Callable
from typing import Protocol


class Worker(Protocol):
    """A connection, or another source of work, as the time budget sees it."""

    #: Seconds of work charged so far, negative while the worker is new (`TimeBudget.enter`);
    #: written by the budget only.
    used: float
    #: Whether the work is deferred to a later turn; written by the budget only.
    waiting: bool

    def work(self) -> bool:
        """Do at least one piece of work, then go on until `TimeBudget.spent`.

        Returns whether work is left. Must not raise.
        """


class Receiver(Protocol):
    """The consumer of one stream's request. Its methods must not raise."""

    def data(self, chunk: bytes, ended: bool) -> None:
        """Take a piece of the body; `ended` if it is the last (it may be empty then).

        The receiver calls `Stream.keep` for bytes it buffers, and `Stream.consumed` when the client
        may send as much again.
        """

    def aborted(self) -> None:
        """The client reset the stream, or the connection has ended. The last call, if made."""

    def drained(self) -> None:
        """The send queue of the stream has fallen below its low-water mark."""


class RequestMeaning(Protocol):
    """Fields that every interpretation of a request's headers has."""

    @property
    def content_length(self) -> int | None:
        """Bytes of the body that the headers announce; None if they do not."""


class Ledger(Protocol):
    """Counts the memory that connections make the server hold."""

    @property
    def tight(self) -> bool:
        """Whether streams without a reservation should send little."""

    def add(self, size: int) -> None:
        """Count `size` more bytes of requests and answers (fewer if negative)."""

    def add_overhead(self, size: int) -> None:
        """Count `size` more bytes of streams and headers (fewer if negative)."""

    def reserve(self, count: int, size: int) -> None:
        """Count `count` more reservations, and `size` more bytes that they have yet to receive."""

    def may_reserve(self, size: int, retry: Callable[[], None]) -> bool:
        """Return whether a message that lacks `size` bytes may be reserved.

        If not, `retry` is called once when it may.
        """

    def forget(self, retry: Callable[[], None]) -> None:
        """Cancel the call of `retry`."""


class TimedCall(Protocol):
    """A call with a deadline."""

    def expired(self) -> None:
        """Called after the deadline; the call may have ended before."""


class DeadlineOwner(Protocol):
    """The connection of calls with deadlines."""

    def expire(self, calls: dict[TimedCall, None]) -> None:
        """End these calls, in the time of the connection."""
