"""Laggards read history until they may join the live watchers.

A slice of work lasts SLICE_SECONDS, then the event loop gets a pause as long as the slice took, so
catching up never takes more than half of the thread (etcd paces its unsynced watchers likewise).
Within a slice, the laggard that was served longest ago is chosen; history is read from its next
revision as far as the limits of one window allow; and every laggard whose next revision lies inside
the window is served from that one reading. So hundreds of watches resumed at once cost about one
reading, and a watcher far behind shares the time evenly with those that miss little.

Nothing is kept between slices but each watcher's next revision, and the events of a very long
revision while it is being told of, which takes many slices: a laggard that turns out to be
stalled is blocked with its next revision unchanged and reads again when its client has.
"""

from bisect import bisect_left
from collections.abc import Callable, Generator
from typing import NamedTuple

from rusd.mvcc.history import LongRevision
from rusd.watch.encoder import Encoder, Payload
from rusd.watch.groups import Group, WatcherGroups
from rusd.watch.ports import HeaderField, History, Loop, Timer
from rusd.watch.watcher import StreamState, Watcher, WatcherState
from rusd.wire.keyvalue import Event
from rusd.wire.watch_response import compacted

#: Work done before the loop gets a turn; a revision that is not very long is finished first.
SLICE_SECONDS = 0.004
#: Revisions in one response at most, as in etcd.
WINDOW_REVISIONS = 1000
#: A response ends with the revision that reaches this many bytes of events. Bounds what one
#: catching-up stream holds in memory above its outlet's own limit.
WINDOW_BYTES = 1 << 20
#: Events encoded between two looks at the time.
ENCODED = 500


class _Window(NamedTuple):
    """One reading of history: revisions `first` to `last`, and what each group sees of them."""

    first: int
    last: int
    matches: dict[Group, list[Event]]


class UnsyncedWatchers:
    """All laggards of a hub."""

    def __init__(
        self,
        history: History,
        loop: Loop,
        groups: WatcherGroups,
        header: HeaderField,
        published: Callable[[], int],
        drop: Callable[[Watcher], None],
        fragment_bytes: int,
    ) -> None:
        self.history = history
        #: How many watchers are behind.
        self.behind = 0
        self._loop = loop
        self._groups = groups
        self._header = header
        self._published = published
        self._drop = drop
        self._fragment_bytes = fragment_bytes
        #: Watchers in state UNSYNCED, the one served longest ago first.
        self._queue: dict[Watcher, None] = {}
        self._timer: Timer | None = None
        #: A revision too long for one slice that is being told of.
        self._long: Generator[None, None, None] | None = None

    def queue(self, watcher: Watcher, next_revision: int) -> None:
        """A live watcher has to read history from `next_revision` on."""
        self._fall_behind(watcher, next_revision)
        self._enqueue(watcher)

    def park(self, watcher: Watcher, next_revision: int) -> None:
        """A live watcher's outlet is full: it reads on from `next_revision` once it drained."""
        self._fall_behind(watcher, next_revision)
        self._stall(watcher)

    def drained(self, stream: StreamState) -> None:
        """The outlet of this stream takes messages again."""
        for watcher in stream.blocked:
            self._enqueue(watcher)
        stream.blocked.clear()

    def forget(self, watcher: Watcher) -> None:
        """The watcher ends, wherever it stands."""
        if watcher.state in (WatcherState.UNSYNCED, WatcherState.BLOCKED):
            self._queue.pop(watcher, None)
            watcher.stream.blocked.pop(watcher, None)
            self._settle(watcher)
        watcher.state = WatcherState.CLOSED

    def close(self) -> None:
        """Stop for good."""
        self._queue.clear()
        self.restart()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def restart(self) -> None:
        """The history is another one: what was being read of it is read anew."""
        self._long = None

    def _fall_behind(self, watcher: Watcher, next_revision: int) -> None:
        assert watcher.state is WatcherState.SYNCED and next_revision <= self._published()
        watcher.next = next_revision
        watcher.group.behind += 1
        watcher.stream.behind += 1
        self.behind += 1

    def _settle(self, watcher: Watcher) -> None:
        watcher.group.behind -= 1
        watcher.stream.behind -= 1
        self.behind -= 1

    def _enqueue(self, watcher: Watcher) -> None:
        watcher.state = WatcherState.UNSYNCED
        self._queue[watcher] = None
        if self._timer is None:
            self._timer = self._loop.call_later(0, self._slice)

    def _stall(self, watcher: Watcher) -> None:
        self._queue.pop(watcher, None)
        watcher.state = WatcherState.BLOCKED
        watcher.stream.blocked[watcher] = None

    def _join_live(self, watcher: Watcher) -> None:
        del self._queue[watcher]
        watcher.state = WatcherState.SYNCED
        watcher.next = 0
        self._settle(watcher)

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
        # Only now: whoever enqueues a watcher during the slice must not start a second timer.
        self._timer = None
        if self._queue:
            self._timer = self._loop.call_later(self._loop.time() - began, self._slice)

    def _serve(self, watcher: Watcher, deadline: float) -> None:
        outlet = watcher.stream.outlet
        compact_revision = self.history.compact_revision
        if not outlet.ready():
            self._stall(watcher)
        elif watcher.next < compact_revision:
            # etcd leaves the revision of this header at zero, and says no reason.
            outlet.send(compacted(self._header(0), watcher.watch_id, compact_revision))
            self._drop(watcher)
        else:
            self._deliver(self._read(watcher.next, deadline))

    def _read(self, first: int, deadline: float) -> _Window:
        """What the groups with laggards see from revision `first` on, up to the limits."""
        published = self._published()
        matches: dict[Group, list[Event]] = {}
        size = 0
        last = published
        reading = self.history.history(first, limit_revisions=WINDOW_REVISIONS)
        for revisions, (revision, events) in enumerate(reading, start=1):
            if revision > published:
                break
            if isinstance(events, LongRevision):
                if revisions == 1:
                    self._long = self._tell_long(first, revision, events)
                last = revision - 1
                break
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

    def _deliver(self, window: _Window) -> None:
        """Serve every laggard whose next revision lies in the window, and move it on."""
        first, last, matches = window
        published = self._published()
        header = self._header(published)
        encoder = Encoder()
        for group, matched in matches.items():
            events = group.select(matched)
            payloads: dict[int, Payload] = {}
            for watcher in list(group.watchers):
                if watcher.state is not WatcherState.UNSYNCED or not first <= watcher.next <= last:
                    continue
                start = bisect_left(events, watcher.next, key=_mod_revision)
                if start == len(events):
                    continue
                if not watcher.stream.outlet.ready():
                    self._stall(watcher)
                    continue
                payload = payloads.get(start)
                if payload is None:
                    fields = encoder.fields(events[start:], group.subscription.prev_kv)
                    payload = payloads[start] = Payload(header, fields, self._fragment_bytes)
                payload.send(watcher)
        for watcher in [one for one in self._queue if first <= one.next <= last]:
            self._move_on(watcher, last, published)

    def _tell_long(
        self, first: int, revision: int, events: LongRevision
    ) -> Generator[None, None, None]:
        """Tell of one revision, in slices, the laggards whose next one lies in [first, revision].

        A watcher that falls behind meanwhile is not among them: of its group, the first events may
        have been passed over.
        """
        watchers = [one for one in self._queue if first <= one.next <= revision]
        groups = dict.fromkeys(one.group for one in watchers)
        prev = any(group.subscription.prev_kv for group in groups)
        matches: dict[Group, list[Event]] = {group: [] for group in groups}
        for part in events.parts(prev=prev):
            for event in part:
                for group in self._groups.of(event.key):
                    if group in matches:
                        matches[group].append(event)
            yield
        encoder = Encoder()
        for group, matched in matches.items():
            selected = group.select(matched)
            fields: list[bytes] = []
            for start in range(0, len(selected), ENCODED):
                part = selected[start : start + ENCODED]
                fields += encoder.fields(part, group.subscription.prev_kv)
                yield
            published = self._published()
            payload = Payload(self._header(published), fields, self._fragment_bytes)
            for watcher in watchers:
                if watcher.group is not group or watcher not in self._queue:
                    continue
                if not watcher.stream.outlet.ready():
                    self._stall(watcher)
                    continue
                if fields:
                    payload.send(watcher)
                self._move_on(watcher, revision, published)
            yield

    def _move_on(self, watcher: Watcher, told: int, published: int) -> None:
        """A laggard knows everything up to revision `told`."""
        if told >= published:
            self._join_live(watcher)
        else:
            watcher.next = told + 1
            del self._queue[watcher]
            self._queue[watcher] = None


def _mod_revision(event: Event) -> int:
    return event.mod_revision
