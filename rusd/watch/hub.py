"""The hub: every watcher of a member, and the newest published revision.

`revision` moves only in `publish` and `restored`. It equals the store's revision except during a
long apply, which publishes its revisions in several slices after the commit.
"""

import random
from collections.abc import Sequence

from rusd.base.response_stream import ResponseStream
from rusd.base.timers import Loop
from rusd.mvcc.overlay import Events
from rusd.watch.encoder import Encoder, Payload
from rusd.watch.groups import WatcherGroups
from rusd.watch.ports import HeaderField, History
from rusd.watch.states import WatcherEvent, WatcherState
from rusd.watch.stream import WatchStream
from rusd.watch.unsynced import UnsyncedWatchers
from rusd.watch.watcher import Group, StreamState, Subscription, Watcher
from rusd.wire.keyvalue import Event

#: etcd's default of --watch-progress-notify-interval, and its minimum (seconds).
PROGRESS_INTERVAL = 600.0
MIN_PROGRESS_INTERVAL = 0.1
#: Bytes above --max-request-bytes (etcd's gRPC overhead) at which a response is split.
FRAGMENT_OVERHEAD = 512 * 1024


class WatchHub:
    """Delivers published revisions to watchers. One for each member."""

    def __init__(
        self,
        history: History,
        loop: Loop,
        header: HeaderField,
        *,
        progress_interval: float = PROGRESS_INTERVAL,
        max_request_bytes: int = 1536 * 1024,
    ) -> None:
        """`header` returns the encoded header field for a revision; `progress_interval` is in
        seconds.
        """
        self.revision = history.revision
        self.loop = loop
        self.header = header
        #: Number of watchers.
        self.watchers = 0
        #: Events sent live, counted for each watcher.
        self._events = 0
        self._progress_interval = max(progress_interval, MIN_PROGRESS_INTERVAL)
        self._fragment_bytes = max_request_bytes + FRAGMENT_OVERHEAD
        self._groups = WatcherGroups()
        self._streams: dict[StreamState, WatchStream] = {}
        self._unsynced = UnsyncedWatchers(
            history,
            loop,
            self._groups,
            header,
            lambda: self.revision,
            self.remove_watcher,
            self._fragment_bytes,
        )

    @property
    def streams(self) -> int:
        """Number of open streams."""
        return len(self._streams)

    @property
    def events(self) -> int:
        """Events sent, counted for each watcher."""
        return self._events + self._unsynced.events

    @property
    def slow_watchers(self) -> int:
        """Number of watchers that are behind (etcd_debugging_mvcc_slow_watcher_total)."""
        return self._unsynced.behind

    def publish(self, batches: Sequence[tuple[int, Events]]) -> None:
        """Deliver the events of new revisions to synced watchers.

        Called after the commit of an apply, several times for a long one. Revisions follow on
        `revision` without a gap. A revision of too many events or matches
        (`WatcherGroups.many_matches`) is read from history in slices.
        """
        for revision, events in batches:
            assert revision == self.revision + 1, f"{revision} published after {self.revision}"
            self.revision = revision
            if not self.watchers:
                continue
            if self._groups.many_matches(events):
                self._read_history(revision)
            else:
                assert isinstance(events, list)
                self._notify(revision, events)

    def restored(self, history: History | None = None) -> None:
        """Continue after a snapshot replaced the store (by `history`, if it is another object).

        Synced watchers read the revisions they missed. A watcher whose next revision is compacted
        ends.
        """
        if history is not None:
            self._unsynced.history = history
        first_missed = self.revision + 1
        self._unsynced.restart()
        self.revision = self._unsynced.history.revision
        assert self.revision >= first_missed - 1, "a snapshot is never older than what is applied"
        self._read_history(first_missed)

    def _read_history(self, first_missed: int) -> None:
        """Make synced watchers read history from revision `first_missed` on."""
        for stream in self._streams:
            for watcher in stream.watchers.values():
                next_revision = max(watcher.next, first_missed)
                if watcher.state is WatcherState.SYNCED and next_revision <= self.revision:
                    self._unsynced.move(watcher, WatcherEvent.READ_HISTORY, next_revision)

    def stream(self, responses: ResponseStream) -> WatchStream:
        """Open a stream that answers through `responses`."""
        state = StreamState(responses)
        stream = self._streams[state] = WatchStream(self, state)
        return stream

    def close(self, error: Exception | None = None) -> None:
        """End every stream, with `error` if given; the member stops."""
        for state, stream in list(self._streams.items()):
            state.responses.finish(error)
            stream.close()
        self._unsynced.close()

    # For WatchStream (ports.Hub)

    def progress_interval(self) -> float:
        """Seconds between progress responses of a stream: the configured interval and up to a
        tenth more, so that streams opened together do not report together.
        """
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
        """Add a watcher for events from `start_revision` on; 0 = from the next revision on."""
        group = self._groups.join(subscription)
        watcher = Watcher(stream, watch_id, group, fragment=fragment, notify=notify)
        group.watchers[watcher] = None
        stream.watchers[watch_id] = watcher
        self.watchers += 1
        past = 0 < start_revision <= self.revision
        event = WatcherEvent.START_PAST if past else WatcherEvent.START_LIVE
        self._unsynced.move(watcher, event, start_revision)

    def remove_watcher(self, watcher: Watcher, event: WatcherEvent) -> None:
        """Remove a watcher, which receives no further event; `event` is the cause."""
        self._unsynced.move(watcher, event)
        del watcher.stream.watchers[watcher.watch_id]
        group = watcher.group
        del group.watchers[watcher]
        if not group.watchers:
            self._groups.leave(group)
        self.watchers -= 1

    def drained(self, stream: StreamState) -> None:
        """The response stream of `stream` is ready again."""
        self._unsynced.drained(stream)

    def stream_closed(self, stream: StreamState) -> None:
        """The stream ended and has no watchers any more."""
        self._streams.pop(stream, None)

    def _notify(self, revision: int, events: list[Event]) -> None:
        matches: dict[Group, list[Event]] = {}
        for event in events:
            for group in self._groups.of(event.key):
                matches.setdefault(group, []).append(event)
        if not matches:
            return
        header = self.header(revision)
        encoder = Encoder()
        synced = WatcherState.SYNCED
        for group, matched in matches.items():
            selected = group.select(matched)
            if not selected or group.behind == len(group.watchers):
                continue
            fields = encoder.fields(selected, group.subscription.prev_kv)
            payload = Payload(header, fields, self._fragment_bytes)
            count = len(selected)
            for watcher in list(group.watchers):
                if watcher.state is not synced or revision < watcher.next:
                    continue
                if watcher.stream.responses.ready():
                    payload.send(watcher)
                    self._events += count
                else:
                    self._unsynced.move(watcher, WatcherEvent.BUFFER_FULL, revision)
