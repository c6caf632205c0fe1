"""What the watch room needs from its neighbours: a history, a clock with timers, headers."""

from collections.abc import Callable, Iterator
from typing import Protocol

from rusd.mvcc.history import LongRevision
from rusd.wire.keyvalue import Event

#: Revision -> the encoded header field (tag and length included) of a response at that revision.
HeaderField = Callable[[int], bytes]


class History(Protocol):
    """The part of the store that watchers read (implemented by `rusd.mvcc.store.Store`)."""

    @property
    def revision(self) -> int:
        """The newest committed revision."""

    @property
    def compact_revision(self) -> int:
        """Revisions below this one are gone; -1 if nothing was ever compacted."""

    def history(
        self, start_revision: int, *, limit_revisions: int
    ) -> Iterator[tuple[int, list[Event] | LongRevision]]:
        """Whole revisions in order from `start_revision` (>= compact_revision) on."""


class Timer(Protocol):
    """A pending call."""

    def cancel(self) -> None: ...


class Loop(Protocol):
    """The part of `asyncio.AbstractEventLoop` used here, so that a test can hold the clock."""

    def time(self) -> float:
        """Monotonic seconds."""

    def call_later(self, delay: float, callback: Callable[[], None], /) -> Timer:
        """Call `callback` once after `delay` seconds."""
