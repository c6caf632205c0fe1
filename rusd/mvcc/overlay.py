"""What a writer has changed, laid over the committed store."""

from bisect import bisect_left, insort
from collections.abc import Iterable
from itertools import islice

from rusd.wire.keyvalue import PUT, Event, Live, parse

#: [start, end) of user keys.
Interval = tuple[bytes, bytes]


#: New keys that are put in their places one by one; with more, everything is sorted.
_FEW = 16


class Overlay:
    """User key -> its version now; intervals where nothing else lives."""

    __slots__ = ("_order", "deleted_intervals", "versions")

    def __init__(self) -> None:
        #: None where there is none: what was changed or looked at. Only `remove` takes keys out.
        self.versions: dict[bytes, Live | None] = {}
        #: Deleted as a whole; `versions` holds what was put there since.
        self.deleted_intervals: list[Interval] = []
        #: The keys of `versions` in order, but for the last ones that came.
        self._order: list[bytes] = []

    def _ordered(self) -> list[bytes]:
        order = self._order
        new = islice(reversed(self.versions), len(self.versions) - len(order))
        if len(self.versions) - len(order) > _FEW:
            order += new
            order.sort()
        else:
            for key in list(new):
                insort(order, key)
        return order

    def remove(self, start: bytes, end: bytes) -> None:
        """Nothing lives in [start, end) any more."""
        order = self._ordered()
        first, last = bisect_left(order, start), bisect_left(order, end)
        for key in order[first:last]:
            del self.versions[key]
        del order[first:last]
        self.deleted_intervals.append((start, end))

    def within(self, start: bytes, end: bytes | None) -> list[bytes]:
        """Keys of `versions` in [start, end), in their order."""
        order = self._ordered()
        last = len(order) if end is None else bisect_left(order, end)
        return order[bisect_left(order, start) : last]

    def touches(self, start: bytes, end: bytes | None) -> bool:
        """Whether anything in [start, end) may be another than it was."""
        order = self._ordered()
        at = bisect_left(order, start)
        if at < len(order) and (end is None or order[at] < end):
            return True
        return any(
            start < until and (end is None or since < end)
            for since, until in self.deleted_intervals
        )

    def deleted_until(self, key: bytes) -> bytes | None:
        """The end of a deleted interval in which `key` lies."""
        for start, end in self.deleted_intervals:
            if start <= key < end:
                return end
        return None


class BulkEvents:
    """The events of a revision that has too many to be kept: they are counted. Readers that need
    them all find them in the store once they are committed."""

    __slots__ = ("_count", "changes")

    def __init__(self, events: Iterable[Event]) -> None:
        """Continues the `events` there are."""
        #: Events, and keys and intervals deleted, in order.
        self.changes: list[Event | bytes | Interval] = list(events)
        self._count = len(self.changes)

    def __len__(self) -> int:
        return self._count

    def append(self, event: Event) -> None:
        self.changes.append(event)
        self._count += 1

    def count(self, deleted: int) -> None:
        """So many keys were deleted; `changes` will name them."""
        self._count += deleted


#: The events of one revision.
Events = list[Event] | BulkEvents


def replayed(revisions: Iterable[tuple[int, Events]], until: int) -> Overlay:
    """The overlay as it was at the end of revision `until`."""
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
