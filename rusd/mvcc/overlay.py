"""Changes of a writer over the committed store, and the events of a revision."""

from bisect import bisect_left, insort
from collections.abc import Iterable
from itertools import islice

from rusd.wire.keyvalue import PUT, Event, Live, parse

#: [start, end) of user keys.
Interval = tuple[bytes, bytes]


#: New keys up to which each is inserted in order; with more, all keys are sorted.
_MAX_INSERTS = 16


class Overlay:
    """Versions of keys that differ from the committed store, and deleted intervals."""

    __slots__ = ("_order", "deleted_intervals", "versions")

    def __init__(self) -> None:
        #: User key -> live version, None if absent: keys that were changed or read. Only `remove`
        #: removes keys.
        self.versions: dict[bytes, Live | None] = {}
        #: Deleted as a whole; `versions` holds keys put there since.
        self.deleted_intervals: list[Interval] = []
        #: The keys of `versions` in order, without the newest ones.
        self._order: list[bytes] = []

    def _ordered(self) -> list[bytes]:
        order = self._order
        new = islice(reversed(self.versions), len(self.versions) - len(order))
        if len(self.versions) - len(order) > _MAX_INSERTS:
            order += new
            order.sort()
        else:
            for key in list(new):
                insort(order, key)
        return order

    def remove(self, start: bytes, end: bytes) -> None:
        """Delete every key in [start, end)."""
        order = self._ordered()
        first, last = bisect_left(order, start), bisect_left(order, end)
        for key in order[first:last]:
            del self.versions[key]
        del order[first:last]
        self.deleted_intervals.append((start, end))

    def within(self, start: bytes, end: bytes | None) -> list[bytes]:
        """Returns the keys of `versions` in [start, end), in order."""
        order = self._ordered()
        last = len(order) if end is None else bisect_left(order, end)
        return order[bisect_left(order, start) : last]

    def touches(self, start: bytes, end: bytes | None) -> bool:
        """True if [start, end) may differ from the committed store."""
        order = self._ordered()
        at = bisect_left(order, start)
        if at < len(order) and (end is None or order[at] < end):
            return True
        return any(
            start < until and (end is None or since < end)
            for since, until in self.deleted_intervals
        )

    def deleted_until(self, key: bytes) -> bytes | None:
        """Returns the end of a deleted interval that contains `key`, or None."""
        for start, end in self.deleted_intervals:
            if start <= key < end:
                return end
        return None


class BulkEvents:
    """The events of a revision with too many to keep in memory: only counted. After the commit,
    readers find them in the store's history.
    """

    __slots__ = ("_count", "changes")

    def __init__(self, events: Iterable[Event]) -> None:
        """Continues with the `events` so far."""
        #: Events, deleted keys and deleted intervals, in order.
        self.changes: list[Event | bytes | Interval] = list(events)
        self._count = len(self.changes)

    def __len__(self) -> int:
        return self._count

    def append(self, event: Event) -> None:
        self.changes.append(event)
        self._count += 1

    def count(self, deleted: int) -> None:
        """Count `deleted` deletions, which are added to `changes` later."""
        self._count += deleted


#: The events of one revision.
Events = list[Event] | BulkEvents


def replayed(revisions: Iterable[tuple[int, Events]], until: int) -> Overlay:
    """Returns the overlay as of the end of revision `until`."""
    overlay = Overlay()
    for main, events in revisions:
        if main > until:
            break
        for change in events.changes if isinstance(events, BulkEvents) else events:
            if isinstance(change, Event):
                live = parse(change.kv) if change.type == PUT else None
                overlay.versions[change.key] = live
            elif isinstance(change, bytes):
                overlay.versions[change] = None
            else:
                overlay.remove(*change)
    return overlay
