"""Deleting many keys at one revision, in slices: range deletions and the ends of large leases.

Rows of KEY and INDEX are written key by key, and may be spilled before the commit (`uncommitted`).
CURRENT changes only at the commit; there, adjacent live keys are deleted as an interval.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Generator, Sequence

from rusd.mvcc.overlay import BulkEvents, Interval, Overlay
from rusd.mvcc.revision import TOMBSTONE, index_key, index_prefix, revision_key
from rusd.mvcc.size import Growth
from rusd.storage import Batch, Cursor, Engine, Family
from rusd.wire.keyvalue import deletion

#: Keys handled in one slice.
SLICE = 500


class BulkDelete:
    """Many deletions in one revision. The caller adds keys in key order, in parts; the writer's
    reads see them as live until `end`.
    """

    def __init__(
        self,
        engine: Engine,
        batch: Batch,
        growth: Growth,
        overlay: Overlay,
        main: int,
        events: BulkEvents,
    ) -> None:
        """`batch`, `growth`, `overlay`: of the writer; `main`: the revision; `events`: its events
        so far.
        """
        self._engine = engine
        self._batch = batch
        self._growth = growth
        self._overlay = overlay
        self._main = main
        self._events = events
        #: Keys with uncommitted live versions: a deleted interval must contain only added ones.
        self._own = sorted(key for key, live in overlay.versions.items() if live is not None)
        self._live: Cursor | None = None
        self._adjacent = False
        #: Deleted intervals; each is one write.
        self._intervals: list[Interval] = []
        self._keys: list[bytes] = []

    def add(self, keys: list[bytes], kvs: Sequence[bytes], *, whole: bool = False) -> None:
        """Add live keys and their KeyValues. `whole`: no other key lives between the first key
        added in total and the last of these.
        """
        main, write, grow = self._main, self._batch.operations.append, self._growth.delete
        for sub, (key, kv) in enumerate(zip(keys, kvs, strict=True), len(self._events)):
            tombstone = deletion(key, 0)
            grow(tombstone, kv)
            write((Family.KEY, revision_key(main, sub) + TOMBSTONE, tombstone))
            write((Family.INDEX, index_key(index_prefix(key), main, sub), TOMBSTONE))
        self._events.count(len(keys))
        end = keys[-1] + b"\0"
        if whole and self._intervals:
            self._intervals[-1] = self._intervals[-1][0], end
        elif whole or self._alone(keys):
            if self._adjacent:
                self._intervals[-1] = self._intervals[-1][0], end
            else:
                self._intervals.append((keys[0], end))
            self._adjacent = True
        else:
            self._keys += keys
            self._adjacent = False

    def _alone(self, keys: list[bytes]) -> bool:
        """True if no other key lives between the first and the last of `keys`, nor between them and
        the keys before, if those were `_adjacent`.
        """
        if self._adjacent:
            assert self._live is not None
            if self._next(keys, self._intervals[-1][1]):
                return True
            self._adjacent = False
        if self._live is None:
            self._live = self._engine.cursor(Family.CURRENT, keys[0], None)
        else:
            self._live.seek(keys[0])
        return self._next(keys, keys[0])

    def _next(self, keys: list[bytes], since: bytes) -> bool:
        assert self._live is not None
        own = self._own
        if bisect_left(own, since) != bisect_right(own, keys[-1]):
            return False
        return self._live.keys(len(keys)) == keys

    def end(self) -> Generator[None, None, None]:
        """Delete the keys, in slices."""
        batch, overlay = self._batch, self._overlay
        self._events.changes += self._intervals
        self._events.changes += self._keys
        for start, end in self._intervals:
            batch.delete_interval(Family.CURRENT, start, end)
            overlay.remove(start, end)
        for number, key in enumerate(self._keys, 1):
            batch.delete(Family.CURRENT, key)
            overlay.versions[key] = None
            if number % SLICE == 0:
                yield
