"""Uncommitted changes: one writer for one apply, one `Txn` for each revision in it."""

from __future__ import annotations

from collections.abc import Sequence

from rusd.base import sliced
from rusd.mvcc import compaction, range_query, uncommitted
from rusd.mvcc.bulk_delete import BulkDelete
from rusd.mvcc.errors import Compacted, FutureRevision
from rusd.mvcc.interval import bounds
from rusd.mvcc.overlay import BulkEvents, Events, Overlay, replayed
from rusd.mvcc.ports import CommittedStore, Rows
from rusd.mvcc.range_query import RangeResult, Slices
from rusd.mvcc.revision import TOMBSTONE, index_key, index_prefix, revision_key
from rusd.mvcc.rows import HistoryRows, overlaid
from rusd.mvcc.size import Growth
from rusd.proto import rpc_pb2 as rpc
from rusd.storage import Batch, Family, Operation
from rusd.wire.keyvalue import DELETE, PUT, Event, Live, deletion, encode, frame, kv_of

_KEY, _CURRENT, _INDEX = Family.KEY, Family.CURRENT, Family.INDEX
# A NamedTuple's own constructor is Python code and costs twice as much.
_tuple = tuple.__new__
_UNKNOWN = object()
#: Bytes of a value above which its batch is put in order of size.
LARGE = 64 << 10
#: Writes in the batch from which a long apply spills rows, at first and then again.
SPILL_WRITES = 20_000
SPILL_AGAIN_WRITES = 500


class Writer:
    """Changes in one batch. Later reads of this writer see them; other reads only after
    `commit`.
    """

    def __init__(self, store: CommittedStore) -> None:
        self._store = store
        self.engine = store.engine
        #: The newest revision, this writer's finished txns included.
        self.revision = store.revision
        self.compact_revision = store.compact_revision
        #: All writes of the apply; other rooms add their records.
        self.batch = Batch()
        self._write = self.batch.operations.append
        self._growth = Growth()
        self.counts = store.counts
        #: (revision, its events) in order.
        self.events: list[tuple[int, Events]] = []
        #: Differences from the committed state.
        self.overlay = Overlay()
        self._versions = self.overlay.versions
        #: Committed KeyValues that `get` read, and their bytes.
        self.reads = self.read_bytes = 0
        #: Writes that wait for the commit, once rows were spilled; None before.
        self._kept: list[Operation] | None = None

    def get(self, key: bytes) -> Live | None:
        """Returns the live version of `key`, own changes included, or None if absent."""
        live = self._versions.get(key, _UNKNOWN)
        if live is _UNKNOWN:
            # Kept, since a put of the same key often follows a condition.
            gone = self.overlay.deleted_intervals and self.overlay.deleted_until(key) is not None
            live = self._versions[key] = None if gone else self._store.get(key)
            if live is not None:
                self.reads += 1
                self.read_bytes += len(live.kv)
        return live  # type: ignore[return-value]

    def rows(self, start: bytes, end: bytes | None) -> Rows:
        """Returns the live keys of [start, end) now, own changes included. Later changes are not
        seen.
        """
        return overlaid(self.engine, self._store.key_counts, self.overlay, start, end)

    def range_slices(self, request: rpc.RangeRequest) -> Slices:
        """Evaluate `request` at its revision (0: now, also within an open txn), in slices. Raises
        FutureRevision or Compacted at the first step.
        """
        revision = request.revision
        if revision > self.revision:
            raise FutureRevision
        if 0 < revision < self.compact_revision:
            raise Compacted
        start, end = bounds(request.key, request.range_end)
        store = self._store
        rows: Rows
        if 0 < revision < store.revision:
            compacted = lambda: store.compact_revision  # noqa: E731
            rows = HistoryRows(lambda: store.engine, start, end, revision, compacted)
        elif revision > 0:
            # Committed state, and own finished txns up to that revision.
            rows = overlaid(
                self.engine, store.key_counts, replayed(self.events, revision), start, end
            )
        else:
            rows = self.rows(start, end)
        return (yield from range_query.run(request, rows))

    def range(self, request: rpc.RangeRequest) -> RangeResult:
        """Evaluates a range at once."""
        if not request.range_end and request.revision <= 0:
            live = self.get(request.key)
            return range_query.of_one_key(request, None if live is None else frame(live.kv))
        return sliced.finish(self.range_slices(request))

    def txn(self) -> Txn:
        """Open the next revision. One at a time; close it with `Txn.end`."""
        return Txn(self)

    def put(self, key: bytes, value: bytes, lease: int) -> Live | None:
        """Put one key at a revision of its own; returns the version before, or None."""
        main = self.revision + 1
        events: list[Event] = []
        before = self._put(main, events, key, value, lease)
        self.revision = main
        self.events.append((main, events))
        return before

    def _put(self, main: int, events: Events, key: bytes, value: bytes, lease: int) -> Live | None:
        sub = len(events)
        before = self.get(key)
        if before is None:
            create, version, before_kv = main, 1, None
        else:
            create, _, version, _, before_kv = before
            version += 1
        kv = encode(key, create, main, version, value, lease)
        self._growth.put(kv, before_kv)
        counts = self.counts
        counts.puts += 1
        counts.put_bytes += len(key) + len(value)
        if len(value) > LARGE:
            self.batch.large = True
        write = self._write
        write((_KEY, revision_key(main, sub), kv))
        write((_CURRENT, key, frame(kv)))
        write((_INDEX, index_key(index_prefix(key), main, sub), b""))
        self._versions[key] = _tuple(Live, (create, main, version, lease, kv))
        events.append(_tuple(Event, (PUT, key, main, sub, kv, before_kv)))
        return before

    def delete(self, key: bytes) -> Live | None:
        """Delete one key at a revision of its own; returns the version before, or None (and no
        revision) if absent.
        """
        before = self.get(key)
        if before is not None:
            main = self.revision + 1
            events: list[Event] = []
            self._delete(main, events, key, before)
            self.revision = main
            self.events.append((main, events))
        return before

    def _delete(self, main: int, events: Events, key: bytes, before: Live) -> None:
        sub = len(events)
        tombstone = deletion(key, 0)
        self._growth.delete(tombstone, before.kv)
        write = self._write
        write((_KEY, revision_key(main, sub) + TOMBSTONE, tombstone))
        write((_CURRENT, key, None))
        write((_INDEX, index_key(index_prefix(key), main, sub), TOMBSTONE))
        self._versions[key] = None
        events.append(_tuple(Event, (DELETE, key, main, sub, deletion(key, main), before.kv)))

    def compact(self, revision: int) -> None:
        """Make revisions below `revision` unreadable. Raises Compacted or FutureRevision."""
        if revision <= self.compact_revision:
            raise Compacted
        if revision > self.revision:
            raise FutureRevision
        compaction.schedule(self.batch, revision)
        self.compact_revision = revision

    def kvs(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Returns the encoded KeyValues of `keys` now, in order; None for an absent key."""
        overlay = self.overlay
        versions, deleted = overlay.versions, overlay.deleted_intervals
        found = self.engine.multi_get(_CURRENT, keys)
        result: list[bytes | None] = []
        for key, framed in zip(keys, found, strict=True):
            if key in versions:
                live = versions[key]
                result.append(None if live is None else live.kv)
            elif framed is None or (deleted and overlay.deleted_until(key) is not None):
                result.append(None)
            else:
                result.append(kv_of(framed))
        return result

    def spill(self) -> None:
        """Write rows that no read sees before the commit, if there are many. Called between two
        slices.
        """
        if len(self.batch) < (SPILL_WRITES if self._kept is None else SPILL_AGAIN_WRITES):
            return
        if self._kept is None:
            if not self._store.checkpoint_lock.acquire(blocking=False):
                return  # a checkpoint is being written
            self._kept = []
        rows = uncommitted.split(self.batch, self._kept)
        uncommitted.mark(rows, self._store.revision)
        self.engine.write(rows)

    def commit(self) -> None:
        """Write the batch and advance the store."""
        if self._kept is not None:
            self.batch.operations[:0] = self._kept
            uncommitted.unmark(self.batch)
        if self.revision != self._store.revision:
            self._store.size.grow(self.batch, self._growth, self.revision)
        self.engine.write(self.batch)
        assert self.revision >= self._store.revision
        self._store.revision = self.revision
        if self.events:
            self._store.key_counts.committed(self.events)
        if self.compact_revision != self._store.compact_revision:
            self._store.compacted(self.compact_revision)
        self.close()

    def close(self) -> None:
        """Release the store after the commit, or without one if the store is replaced or closed.
        Opening it again removes spilled rows.
        """
        if self._kept is not None:
            self._kept = None
            self._store.checkpoint_lock.release()


class Txn:
    """The changes of one revision, numbered from 0."""

    __slots__ = ("_events", "_main", "_writer")

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._main = writer.revision + 1
        self._events: Events = []

    @property
    def changed(self) -> bool:
        """True after a put or deletion."""
        return bool(self._events)

    def put(self, key: bytes, value: bytes, lease: int) -> Live | None:
        """Put one key; returns the version before, or None."""
        return self._writer._put(self._main, self._events, key, value, lease)

    def delete(self, key: bytes) -> Live | None:
        """Delete one key; returns the version before, or None (and no change) if absent."""
        before = self._writer.get(key)
        if before is not None:
            self._writer._delete(self._main, self._events, key, before)
        return before

    def delete_live(self, key: bytes, live: Live) -> None:
        """Delete one key whose live version is `live`."""
        self._writer._delete(self._main, self._events, key, live)

    def bulk_delete(self) -> BulkDelete:
        """Returns a `BulkDelete` for more deletions than one slice can do."""
        if not isinstance(self._events, BulkEvents):
            self._events = BulkEvents(self._events)
        writer = self._writer
        return BulkDelete(
            writer.engine, writer.batch, writer._growth, writer.overlay, self._main, self._events
        )

    def end(self) -> int:
        """Close the txn; returns the writer's revision, one higher if anything changed."""
        if self._events:
            self._writer.revision = self._main
            self._writer.events.append((self._main, self._events))
        return self._writer.revision
