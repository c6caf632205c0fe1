"""Ports of the watch room: history and headers; the hub as a stream uses it."""

from collections.abc import Callable, Iterator
from typing import Protocol

from rusd.base.timers import Loop
from rusd.mvcc.history import LongRevision
from rusd.watch.states import WatcherEvent
from rusd.watch.watcher import StreamState, Subscription, Watcher
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


class Hub(Protocol):
    """The part of `WatchHub` that a stream uses."""

    loop: Loop
    #: The encoded header field for a revision.
    header: HeaderField

    @property
    def revision(self) -> int:
        """The newest published revision."""

    def progress_interval(self) -> float:
        """Seconds until the next progress responses of a stream."""

    def add_watcher(
        self,
        stream: StreamState,
        watch_id: int,
        subscription: Subscription,
        start_revision: int,
        *,
        fragment: bool,
        notify: bool,
    ) -> None:
        """Add a watcher of a stream."""

    def remove_watcher(self, watcher: Watcher, event: WatcherEvent) -> None:
        """Remove a watcher; `event` is the cause."""

    def drained(self, stream: StreamState) -> None:
        """The response stream of `stream` is ready again."""

    def stream_closed(self, stream: StreamState) -> None:
        """The stream ended and has no watchers any more."""
