"""Uncommitted changes: one writer for one apply, one `Txn` for each revision in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rusd.errors import COMPACTED, FUTURE_REVISION
from rusd.mvcc import compaction, query
from rusd.mvcc.interval import bounds
from rusd.mvcc.keyvalue import DELETE, PUT, Event, Live, deletion, encode, pack, parse
from rusd.mvcc.query import RangeResult, Rows
from rusd.mvcc.revision import TOMBSTONE, index_key, index_prefix, revision_key
from rusd.mvcc.rows import CurrentRows, HistoryRows, OverlaidRows
from rusd.proto import rpc_pb2 as rpc
from rusd.storage import Batch, Family

if TYPE_CHECKING:
    from rusd.mvcc.store import Store


class Writer:
    """Changes collected in one batch. Later reads of the same writer see earlier changes; nobody
    else does before `commit`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._engine = store.engine
        #: The newest revision, this writer's finished txns included.
        self.revision = store.revision
        self.compact_revision = store.compact_revision
        #: Everything that is written; other rooms add their records.
        self.batch = Batch()
        #: (revision, its events) in order.
        self.events: list[tuple[int, list[Event]]] = []
        #: User key -> its version now, None where deleted.
        self._overlay: dict[bytes, Live | None] = {}

    def get(self, key: bytes) -> Live | None:
        """The version of `key` now, own changes included."""
        if key in self._overlay:
            return self._overlay[key]
        return self._store.get(key)

    def keys(self, key: bytes, range_end: bytes) -> list[bytes]:
        """Live keys of the interval now, sorted."""
        if not range_end:
            return [key] if self.get(key) is not None else []
        return list(self._now(*bounds(key, range_end)).keys())

    def range(self, request: rpc.RangeRequest) -> RangeResult:
        """Evaluate `request` at its revision (0: now, also within an open txn). Raises
        FUTURE_REVISION or COMPACTED."""
        revision = request.revision
        if revision > self.revision:
            raise FUTURE_REVISION
        if 0 < revision < self.compact_revision:
            raise COMPACTED
        start, end = bounds(request.key, request.range_end)
        if 0 < revision < self._store.revision:
            rows: Rows = HistoryRows(self._engine, start, end, revision)
        elif revision > 0:
            # What was committed before this writer, and its own finished txns up to there.
            base = CurrentRows(self._engine, start, end)
            rows = OverlaidRows(base, self._overlay_at(revision), start, end)
        else:
            rows = self._now(start, end)
        return query.finish(query.run(request, rows))

    def _now(self, start: bytes, end: bytes | None) -> Rows:
        return OverlaidRows(CurrentRows(self._engine, start, end), self._overlay, start, end)

    def _overlay_at(self, revision: int) -> dict[bytes, Live | None]:
        overlay: dict[bytes, Live | None] = {}
        for main, events in self.events:
            if main > revision:
                break
            for event in events:
                overlay[event.key] = parse(event.kv) if event.type == PUT else None
        return overlay

    def txn(self) -> Txn:
        """Open the next revision. One at a time; close it with `Txn.end`."""
        return Txn(self)

    def compact(self, revision: int) -> None:
        """Make revisions below `revision` unreadable. Raises COMPACTED or FUTURE_REVISION."""
        if revision <= self.compact_revision:
            raise COMPACTED
        if revision > self.revision:
            raise FUTURE_REVISION
        compaction.schedule(self.batch, revision)
        self.compact_revision = revision

    def commit(self) -> None:
        """Write the batch and move the store."""
        self._engine.write(self.batch)
        assert self.revision >= self._store.revision
        self._store.revision = self.revision
        self._store.compact_revision = self.compact_revision


class Txn:
    """The changes of one revision, numbered 0, 1, 2 …"""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._batch = writer.batch
        self._overlay = writer._overlay
        self._main = writer.revision + 1
        self._events: list[Event] = []

    @property
    def changed(self) -> bool:
        """True once something was put or deleted."""
        return bool(self._events)

    def put(self, key: bytes, value: bytes, lease: int) -> Live | None:
        """Store `value`; returns the version there was before."""
        before = self._writer.get(key)
        main, sub = self._main, len(self._events)
        if before is None:
            create, version = main, 1
        else:
            create, version = before.create_revision, before.version + 1
        kv = encode(key, create, main, version, value, lease)
        live = Live(create, main, version, lease, kv)
        put = self._batch.put
        put(Family.KEY, revision_key(main, sub), kv)
        put(Family.CURRENT, key, pack(live))
        put(Family.INDEX, index_key(index_prefix(key), main, sub), b"")
        self._overlay[key] = live
        self._events.append(Event(PUT, key, main, sub, kv, before.kv if before else None))
        return before

    def delete(self, key: bytes) -> Live | None:
        """Remove `key`; returns the version there was, None (and no change) if there was none."""
        before = self._writer.get(key)
        if before is None:
            return None
        main, sub = self._main, len(self._events)
        batch = self._batch
        batch.put(Family.KEY, revision_key(main, sub) + TOMBSTONE, encode(key, 0, 0, 0, b"", 0))
        batch.delete(Family.CURRENT, key)
        batch.put(Family.INDEX, index_key(index_prefix(key), main, sub), TOMBSTONE)
        self._overlay[key] = None
        self._events.append(Event(DELETE, key, main, sub, deletion(key, main), before.kv))
        return before

    def end(self) -> int:
        """Close the txn: the writer's revision, one further if anything changed."""
        if self._events:
            self._writer.revision = self._main
            self._writer.events.append((self._main, self._events))
        return self._writer.revision
