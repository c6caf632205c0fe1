"""A snapshot of the committed state, for reads of several intervals in many slices."""

from collections.abc import Iterable

from rusd.base import sliced
from rusd.mvcc import range_query
from rusd.mvcc.interval import bounds
from rusd.mvcc.ports import Rows
from rusd.mvcc.range_query import RangeResult, Slices
from rusd.mvcc.rows import CurrentRows
from rusd.mvcc.store import Store
from rusd.proto import rpc_pb2 as rpc
from rusd.storage import Family
from rusd.wire.keyvalue import Live, unpack

#: [start, end) of user keys.
Bounds = tuple[bytes, bytes | None]


class ReadView:
    """A snapshot of a store for intervals given at creation.

    A cursor sees the state as of its creation, so all cursors are created at once. One range is
    read at a time. Short-lived, like any cursor.
    """

    def __init__(self, store: Store, intervals: Iterable[Bounds]) -> None:
        self._store = store
        self.revision = store.revision
        self.compact_revision = store.compact_revision
        self.counts = store.counts
        numbers = store.key_counts
        view = numbers.view()
        self._rows = {one: CurrentRows(store.engine, *one, numbers, view) for one in intervals}
        self._any = store.engine.cursor(Family.CURRENT, b"", None)

    def get(self, key: bytes) -> Live | None:
        """Returns the live version of `key`, or None if absent."""
        self._any.seek(key)
        found = self._any.pairs(1)
        return unpack(found[0][1]) if found and found[0][0] == key else None

    def rows(self, start: bytes, end: bytes | None, revision: int = 0) -> Rows:
        """Return rows as `Store.rows`. At the current revision, only of an interval given at
        creation.
        """
        if revision > 0:
            return self._store.rows(start, end, revision)
        rows = self._rows[start, end]
        rows.seek(start)
        return rows

    def range_slices(self, request: rpc.RangeRequest) -> Slices:
        """Evaluate a range in slices, as `Store.range_slices`."""
        start, end = bounds(request.key, request.range_end)
        return range_query.run(request, self.rows(start, end, request.revision))

    def range(self, request: rpc.RangeRequest) -> RangeResult:
        """Evaluate a range at once."""
        return sliced.finish(self.range_slices(request))
