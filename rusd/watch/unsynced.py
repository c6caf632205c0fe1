"""Watchers that are behind read history until they are synced.

A slice of work lasts SLICE_SECONDS, then the event loop gets a pause of the same length, so reading
history takes at most half of the thread's time (etcd paces its unsynced watchers likewise). A slice
chooses the unsynced watcher that was served longest ago and reads a window of history from its next
revision; every unsynced watcher whose next revision lies in the window is served from that reading.
So hundreds of watchers that resume together cost about one reading, and a watcher far behind shares
the time evenly with watchers that miss little.

Between slices, only each watcher's next revision is stored, and the events of a very long revision
while it is being delivered. A watcher that turns out to be blocked keeps its next revision and
reads again once its client has read.
"""

from bisect import bisect_left
from collections.abc import Callable, Generator
from typing import NamedTuple

from rusd.base.chunks import Chunks
from rusd.base.sliced import divided
from rusd.base.timers import Loop, Timer
from rusd.mvcc.history import LongRevision
from rusd.watch.encoder import Encoder, Payload
from rusd.watch.groups import WatcherGroups
from rusd.watch.ports import HeaderField, History
from rusd.watch.states import BEHIND, TRANSITIONS, WatcherEvent, WatcherState
from rusd.watch.watcher import Group, StreamState, Watcher
from rusd.wire.keyvalue import Event, event_size
from rusd.wire.watch_response import compacted

#: Seconds of work before the loop gets a turn; a revision that is not very long is finished first.
SLICE_SECONDS = 0.004
#: Revisions in one response at most, as in etcd.
WINDOW_REVISIONS = 1000
#: Bytes of events after which a window ends with the revision that reaches them. Bounds the memory
#: of one unsynced stream above the limit of its response stream.
WINDOW_BYTES = 1 << 20
#: Events encoded, messages sent, and pairs of an event and a group matched, in one slice of a long
#: revision.
ENCODED = 500
SENT = 64
MATCHED = 10_000

_UNSYNCED, _BLOCKED = WatcherState.UNSYNCED, WatcherState.BLOCKED


class _Window(NamedTuple):
    """A read part of the history: revisions `first` to `last`, and the matching events of
    groups.
    """

    first: int
    last: int
    matches: dict[Group, list[Event]]


class UnsyncedWatchers:
    """The states of all watchers of a hub, and the reading of history for those behind."""

    def __init__(
        self,
        history: History,
        loop: Loop,
        groups: WatcherGroups,
        header: HeaderField,
        published: Callable[[], int],
        remove: Callable[[Watcher, WatcherEvent], None],
        fragment_bytes: int,
    ) -> None:
        """`published` returns the newest published revision; `remove` removes a watcher."""
        self.history = history
        #: Number of watchers that are behind.
        self.behind = 0
        self._loop = loop
        self._groups = groups
        self._header = header
        self._published = published
        self._remove = remove
        self._fragment_bytes = fragment_bytes
        #: Events sent, counted for each watcher.
        self.events = 0
        #: Watchers in state UNSYNCED, the one served longest ago first.
        self._queue: dict[Watcher, None] = {}
        self._timer: Timer | None = None
        #: A revision too long for one slice that is being delivered.
        self._long: Generator[None, None, None] | None = None

    def move(self, watcher: Watcher, event: WatcherEvent, next_revision: int = 0) -> None:
        """Move a watcher to its next state (see `states`).

        `next_revision`: the first revision it has not received, 0 if it is synced. Raises KeyError
        if the event cannot happen in the watcher's state.
        """
        old = watcher.state
        new = TRANSITIONS[old][event]
        if old is _UNSYNCED:
            del self._queue[watcher]
        elif old is _BLOCKED:
            del watcher.stream.blocked[watcher]
        change = (new in BEHIND) - (old in BEHIND)
        watcher.group.behind += change
        self.behind += change
        watcher.state = new
        watcher.next = next_revision
        if new is _UNSYNCED:
            self._queue[watcher] = None
            if self._timer is None:
                self._timer = self._loop.call_later(0, self._slice)
        elif new is _BLOCKED:
            watcher.stream.blocked[watcher] = None

    def drained(self, stream: StreamState) -> None:
        """The response stream of `stream` is ready again."""
        for watcher in list(stream.blocked):
            self.move(watcher, WatcherEvent.DRAINED, watcher.next)

    def close(self) -> None:
        """Stop reading and serving watchers."""
        self._queue.clear()
        self.restart()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def restart(self) -> None:
        """Restart the current read, since another history replaced the old one."""
        self._long = None

    def _blocked(self, watcher: Watcher) -> None:
        self.move(watcher, WatcherEvent.BUFFER_FULL, watcher.next)

    def _slice(self) -> None:
        began = self._loop.time()
        deadline = began + SLICE_SECONDS
        while self._queue:
            if self._long is None:
                self._serve(next(iter(self._queue)), deadline)
            elif next(self._long, True):
                self._long = None
            if self._loop.time() >= deadline:
                break
        else:
            self._long = None
        # Only now, so that `move` starts no second timer during the slice.
        self._timer = None
        if self._queue:
            self._timer = self._loop.call_later(self._loop.time() - began, self._slice)

    def _serve(self, watcher: Watcher, deadline: float) -> None:
        responses = watcher.stream.responses
        compact_revision = self.history.compact_revision
        if not responses.ready():
            self._blocked(watcher)
        elif watcher.next < compact_revision:
            # As in etcd: the header's revision is 0, and there is no cancel_reason.
            responses.send(compacted(self._header(0), watcher.watch_id, compact_revision))
            self._remove(watcher, WatcherEvent.COMPACTED)
        else:
            began = self._loop.time()
            window = self._read(watcher.next, deadline)
            read = self._loop.time()
            # A reading is worth serving many watchers with it, also one that took all of a slice.
            self._deliver(window, max(deadline, read + max(SLICE_SECONDS, (read - began) / 2)))

    def _read(self, first: int, deadline: float) -> _Window:
        """Read history from revision `first` up to the limits of a window."""
        published = self._published()
        matches: dict[Group, list[Event]] = {}
        size = 0
        last = published
        reading = self.history.history(first, limit_revisions=WINDOW_REVISIONS)
        for revisions, (revision, events) in enumerate(reading, start=1):
            if revision > published:
                break
            if self._groups.many_matches(events):
                if revisions == 1:
                    self._long = self._deliver_long(first, revision, events)
                last = revision - 1
                break
            assert isinstance(events, list)
            for event in events:
                groups = [group for group in self._groups.of(event.key) if group.behind]
                for group in groups:
                    matches.setdefault(group, []).append(event)
                if groups:
                    size += len(event.kv) + len(event.prev or b"")
            if (
                revisions == WINDOW_REVISIONS
                or size >= WINDOW_BYTES
                or self._loop.time() >= deadline
            ):
                last = revision
                break
        return _Window(first, last, matches)

    def _deliver(self, window: _Window, deadline: float) -> None:
        """Serve the unsynced watchers whose next revision lies in the window: all of them, or those
        that can be served until `deadline`.
        """
        first, last, matches = window
        published = self._published()
        header = self._header(published)
        encoder = Encoder()
        sent = 0
        #: Watchers that are served by a later slice.
        left: set[Watcher] = set()
        for group, matched in matches.items():
            if sent and self._loop.time() >= deadline:
                left.update(group.watchers)
                continue
            events = group.select(matched)
            payloads: dict[int, Payload] = {}
            for watcher in list(group.watchers):
                if watcher.state is not _UNSYNCED or not first <= watcher.next <= last:
                    continue
                if sent and sent % SENT == 0 and self._loop.time() >= deadline:
                    left.add(watcher)
                    continue
                start = bisect_left(events, watcher.next, key=_mod_revision)
                if start == len(events):
                    continue
                if not watcher.stream.responses.ready():
                    self._blocked(watcher)
                    continue
                payload = payloads.get(start)
                if payload is None:
                    fields = encoder.fields(events[start:], group.subscription.prev_kv)
                    payload = payloads[start] = Payload(header, fields, self._fragment_bytes)
                payload.send(watcher)
                self.events += len(events) - start
                sent += 1
        for watcher in [one for one in self._queue if first <= one.next <= last]:
            if watcher not in left:
                self._delivered(watcher, last, published)

    def _deliver_long(
        self, first: int, revision: int, events: LongRevision | list[Event]
    ) -> Generator[None, None, None]:
        """Deliver one revision in slices to the unsynced watchers whose next revision lies in
        [first, revision].

        A watcher that falls behind meanwhile is left out: the first events of its group may have
        been skipped.
        """
        watchers: dict[Group, list[Watcher]] = {}
        for watcher in self._queue:
            if first <= watcher.next <= revision:
                watchers.setdefault(watcher.group, []).append(watcher)
        prev = any(group.subscription.prev_kv for group in watchers)
        matches: dict[Group, list[Event]] = {group: [] for group in watchers}
        matched_since = 0
        for part in events.parts(prev=prev) if isinstance(events, LongRevision) else (events,):
            for event in part:
                found = self._groups.of(event.key)
                for group in found:
                    if group in matches:
                        matches[group].append(event)
                matched_since += 1 + len(found)
                if matched_since > MATCHED:
                    matched_since = 0
                    yield
            yield
        encoder = Encoder()
        for group, matched in matches.items():
            selected = group.select(matched)
            fields: list[bytes] = []
            joined = Chunks()
            for part in divided(selected, event_size, ENCODED):
                encoded = encoder.fields(part, group.subscription.prev_kv)
                fields += encoded
                joined.append(b"".join(encoded) if len(encoded) > 1 else encoded[0])
                yield
            published = self._published()
            payload = Payload(self._header(published), fields, self._fragment_bytes, joined)
            for number, watcher in enumerate(watchers[group], 1):
                if number % SENT == 0:
                    yield
                    if published != self._published():
                        # The header's revision never decreases on a stream.
                        published = self._published()
                        header = self._header(published)
                        payload = Payload(header, fields, self._fragment_bytes, joined)
                if watcher not in self._queue:
                    continue
                if not watcher.stream.responses.ready():
                    self._blocked(watcher)
                    continue
                if fields:
                    payload.send(watcher)
                    self.events += len(fields)
                self._delivered(watcher, revision, published)
            yield

    def _delivered(self, watcher: Watcher, last: int, published: int) -> None:
        """An unsynced watcher has received every event up to revision `last`."""
        if last >= published:
            self.move(watcher, WatcherEvent.CAUGHT_UP)
        else:
            self.move(watcher, WatcherEvent.READ_ON, last + 1)


def _mod_revision(event: Event) -> int:
    return event.mod_revision
