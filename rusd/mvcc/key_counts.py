"""Numbers of live keys in intervals, so that a repeated count does not read every row.

`KeyCounts` knows *blocks*: disjoint intervals of user keys, each with the number of keys that live
in it now. The first count of an interval reads its rows and records blocks of about BLOCK keys;
every commit adjusts them. A later count adds up whole blocks and reads rows only at the two ends of
its interval, and where no block is known.

A count that takes several slices must give the number at one revision, while commits go on. So it
has a `CountView`, made when its cursor was made, which collects the keys that were created and
deleted since: the number then is the number now, less what was created, plus what was deleted.

Blocks are a cache: forgotten when a commit deletes intervals (`BulkEvents`), when a snapshot
replaces the store, and when there are too many. Memory: about 200 bytes a block.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Generator, Iterable
from weakref import WeakSet

from rusd.mvcc.overlay import BulkEvents, Events
from rusd.storage import Cursor
from rusd.wire.keyvalue import PUT

#: Keys of a block when it is recorded.
BLOCK = 1000
#: Fewer keys are not worth a block.
MIN_BLOCK = 256
#: A block that grew to so many keys is forgotten, to be recorded as smaller ones.
MAX_BLOCK = 4 * BLOCK
#: Blocks that are kept at most; one more, and all are forgotten.
MAX_BLOCKS = 20_000
#: Changes that a view collects at most; one more, and it counts row by row.
MAX_CHANGES = 50_000
#: Rows read, or blocks added up, in one slice: about 2 ms.
SLICE = 4000


class KeyCounts:
    """The blocks of one store. Not thread-safe."""

    def __init__(self) -> None:
        # Of each block, in key order: [start, end) and the number of keys in it.
        self._starts: list[bytes] = []
        self._ends: list[bytes] = []
        self._numbers: list[int] = []
        self._views: WeakSet[CountView] = WeakSet()
        #: Number of commits and restores: equal numbers mean the same state.
        self.commits = 0

    def view(self) -> "CountView":
        """Return the counts as of now, for a cursor that is created at the same time."""
        view = CountView(self)
        self._views.add(view)
        return view

    def committed(self, revisions: Iterable[tuple[int, Events]]) -> None:
        """Adjust blocks and views to a commit with these events."""
        self.commits += 1
        if not self._starts and not self._views:
            return
        for _, events in revisions:
            if isinstance(events, BulkEvents):
                self.clear()
                return
            for event in events:
                if event.type != PUT:
                    self._change(event.key, -1)
                elif event.prev is None:
                    self._change(event.key, 1)

    def clear(self) -> None:
        """Forget all blocks; views count row by row from now on."""
        self._starts, self._ends, self._numbers = [], [], []
        self.commits += 1
        for view in self._views:
            view.valid = False
        self._views.clear()

    def _change(self, key: bytes, change: int) -> None:
        for view in list(self._views):
            view.note(key, change)
            if not view.valid:
                self._views.discard(view)
        at = bisect_right(self._starts, key) - 1
        if at >= 0 and key < self._ends[at]:
            self._numbers[at] += change
            if self._numbers[at] > MAX_BLOCK:
                del self._starts[at], self._ends[at], self._numbers[at]

    def record(self, start: bytes, end: bytes, number: int) -> None:
        """Remember a block, unless it is small or overlaps one that is known."""
        if number < MIN_BLOCK:
            return
        if len(self._starts) >= MAX_BLOCKS:
            self._starts, self._ends, self._numbers = [], [], []
        at = bisect_left(self._starts, start)
        if at and self._ends[at - 1] > start:
            return
        if at < len(self._starts) and self._starts[at] < end:
            return
        self._starts.insert(at, start)
        self._ends.insert(at, end)
        self._numbers.insert(at, number)

    def at_or_after(self, position: bytes, end: bytes | None) -> tuple[bytes, bytes, int] | None:
        """Return the first block that lies in [position, end)."""
        at = bisect_left(self._starts, position)
        if at == len(self._starts) or (end is not None and self._ends[at] > end):
            return None
        return self._starts[at], self._ends[at], self._numbers[at]


class CountView:
    """Counts as of the creation of this object."""

    __slots__ = ("__weakref__", "_counts", "_created", "_deleted", "valid")

    def __init__(self, counts: KeyCounts) -> None:
        self._counts = counts
        #: Keys created and deleted since, sorted; one may be in both, and repeatedly.
        self._created: list[bytes] = []
        self._deleted: list[bytes] = []
        #: False once the changes are not known any more.
        self.valid = True

    def note(self, key: bytes, change: int) -> None:
        """Record that a key was created (1) or deleted (-1)."""
        insort(self._created if change > 0 else self._deleted, key)
        if len(self._created) + len(self._deleted) > MAX_CHANGES:
            self.valid = False
            self._created, self._deleted = [], []

    def count(
        self, cursor: Cursor, position: bytes, end: bytes | None
    ) -> Generator[None, None, int]:
        """Return the number of keys in [position, end), in slices.

        `cursor` reads CURRENT as of the view's creation and up to `end`, from any position.
        """
        total = work = 0
        placed = False
        while end is None or position < end:
            block = self._counts.at_or_after(position, end) if self.valid else None
            if block is not None and block[0] == position:
                _, position, number = block
                total += number - self._changes(block[0], position)
                placed = False
                work += 1
            else:
                if not placed:
                    cursor.seek(position)
                    placed = True
                keys = cursor.keys(BLOCK)
                if not keys:
                    break
                work += len(keys)
                if block is not None and keys[-1] >= block[0]:
                    number, behind = bisect_left(keys, block[0]), block[0]
                    # The cursor read on, and the block may be forgotten in the next slice.
                    placed = False
                else:
                    number, behind = len(keys), keys[-1] + b"\0"
                total += number
                if self.valid:
                    now = number + self._changes(position, behind)
                    self._counts.record(position, behind, now)
                position = behind
            if work >= SLICE:
                work = 0
                yield
        return total

    def _changes(self, start: bytes, end: bytes) -> int:
        """Return the number of keys in [start, end) created since, less the number deleted."""
        created, deleted = self._created, self._deleted
        if not created and not deleted:
            return 0
        return (
            bisect_left(created, end)
            - bisect_left(created, start)
            - bisect_left(deleted, end)
            + bisect_left(deleted, start)
        )
