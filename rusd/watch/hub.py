"""The hub: every watcher of a member, and the revision up to which live watchers know everything.

`revision` is the newest *published* revision. It moves only in `publish` and `restored`. It equals
the store's revision, but for a long apply: that tells of its revisions in several turns, and what
is not published yet counts for nothing in this room.
"""

import random
from collections.abc import Sequence

from rusd.mvcc.history import LONG_REVISION_EVENTS
from rusd.mvcc.overlay import BulkEvents, Events
from rusd.rpc.errors import EtcdError
from rusd.rpc.streams import ResponseStream
from rusd.watch.encoder import Encoder, Payload
from rusd.watch.groups import Group, Subscription, WatcherGroups
from rusd.watch.ports import HeaderField, History, Loop
from rusd.watch.stream import WatchStream
from rusd.watch.unsynced import UnsyncedWatchers
from rusd.watch.watcher import StreamState, Watcher, WatcherState
from rusd.wire.keyvalue import Event

#: etcd's default of --watch-progress-notify-interval, and the least it takes (seconds).
PROGRESS_INTERVAL = 600.0
MIN_PROGRESS_INTERVAL = 0.1
#: A response with fragments allowed is split at --max-request-bytes plus gRPC's overhead.
FRAGMENT_OVERHEAD = 512 * 1024


class WatchHub:
    """Tells watchers what happened. One for each member; see the package's page of prose."""

    def __init__(
        self,
        history: History,
        loop: Loop,
        header: HeaderField,
        *,
        progress_interval: float = PROGRESS_INTERVAL,
        max_request_bytes: int = 1536 * 1024,
    ) -> None:
        """`header` gives the encoded header field for a revision; `progress_interval` is in
        seconds."""
        self.revision = history.revision
        self.loop = loop
        self.header = header
        #: How many watchers there are; `unsynced.behind` of them are slow.
        self.watchers = 0
        self._progress_interval = max(progress_interval, MIN_PROGRESS_INTERVAL)
        self._fragment_bytes = max_request_bytes + FRAGMENT_OVERHEAD
        self._groups = WatcherGroups()
        self._streams: dict[WatchStream, None] = {}
        self._unsynced = UnsyncedWatchers(
            history,
            loop,
            self._groups,
            header,
            lambda: self.revision,
            self.drop,
            self._fragment_bytes,
        )

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    @property
    def slow_watchers(self) -> int:
        """How many watchers are behind."""
        return self._unsynced.behind

    def publish(self, batches: Sequence[tuple[int, Events]]) -> None:
        """Tell the live watchers of new revisions; called after the commit of an apply, once or (of
        a long one) several times.

        Revisions must follow on `revision` without a gap: a gap would be lost events. A revision of
        very many events is read from history by the watchers that are live now, in slices.
        """
        for revision, events in batches:
            assert revision == self.revision + 1, f"{revision} published after {self.revision}"
            self.revision = revision
            if not self.watchers:
                continue
            if isinstance(events, BulkEvents) or len(events) > LONG_REVISION_EVENTS:
                self._read_later(revision)
            else:
                self._tell(revision, events)

    def restored(self, history: History | None = None) -> None:
        """A snapshot replaced the store (by `history`, if that is another object now).

        Every live watcher reads what it missed; a watcher overtaken by compaction ends there.
        """
        if history is not None:
            self._unsynced.history = history
        first_missed = self.revision + 1
        self._unsynced.restart()
        self.revision = self._unsynced.history.revision
        assert self.revision >= first_missed - 1, "a snapshot is never older than what is applied"
        self._read_later(first_missed)

    def _read_later(self, first_missed: int) -> None:
        """Live watchers read history from `first_missed` on."""
        for stream in self._streams:
            for watcher in stream.state.watchers.values():
                next_revision = max(watcher.next, first_missed)
                if watcher.state is WatcherState.SYNCED and next_revision <= self.revision:
                    self._unsynced.queue(watcher, next_revision)

    def stream(self, outlet: ResponseStream) -> WatchStream:
        """Open a stream that answers through `outlet`."""
        stream = WatchStream(self, StreamState(outlet))
        self._streams[stream] = None
        return stream

    def close(self, error: EtcdError | None = None) -> None:
        """The member stops: end every stream, with `error` if given."""
        for stream in list(self._streams):
            stream.state.outlet.finish(error)
            stream.close()
        self._unsynced.close()

    # For WatchStream

    def progress_interval(self) -> float:
        """Seconds between a stream's progress responses, up to a tenth longer than configured:
        watchers created together should not all report together."""
        return self._progress_interval * (1 + random.random() / 10)

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
        """Add a watcher that wants everything from `start_revision` on; 0 = from now on."""
        group = self._groups.join(subscription)
        watcher = Watcher(stream, watch_id, group, fragment=fragment, notify=notify)
        group.watchers[watcher] = None
        stream.watchers[watch_id] = watcher
        self.watchers += 1
        if 0 < start_revision <= self.revision:
            self._unsynced.queue(watcher, start_revision)
        else:
            watcher.next = start_revision

    def drop(self, watcher: Watcher) -> None:
        """Remove a watcher; nothing is sent to it any more."""
        self._unsynced.forget(watcher)
        del watcher.stream.watchers[watcher.watch_id]
        group = watcher.group
        del group.watchers[watcher]
        if not group.watchers:
            self._groups.leave(group)
        self.watchers -= 1

    def drained(self, stream: StreamState) -> None:
        """The stream's outlet takes messages again."""
        self._unsynced.drained(stream)

    def forget(self, stream: WatchStream) -> None:
        """The stream is over."""
        self._streams.pop(stream, None)

    def _tell(self, revision: int, events: list[Event]) -> None:
        matches: dict[Group, list[Event]] = {}
        for event in events:
            for group in self._groups.of(event.key):
                matches.setdefault(group, []).append(event)
        if not matches:
            return
        header = self.header(revision)
        encoder = Encoder()
        live = WatcherState.SYNCED
        for group, matched in matches.items():
            selected = group.select(matched)
            if not selected or group.behind == len(group.watchers):
                continue
            fields = encoder.fields(selected, group.subscription.prev_kv)
            payload = Payload(header, fields, self._fragment_bytes)
            for watcher in list(group.watchers):
                if watcher.state is not live or revision < watcher.next:
                    continue
                if watcher.stream.outlet.ready():
                    payload.send(watcher)
                else:
                    self._unsynced.park(watcher, revision)
