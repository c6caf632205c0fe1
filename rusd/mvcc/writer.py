"""Uncommitted changes: one writer for one apply, one `Txn` for each revision in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rusd.errors import COMPACTED, FUTURE_REVISION
from rusd.mvcc import compaction, query
from rusd.mvcc.interval import bounds
from rusd.mvcc.keyvalue import DELETE, PUT, Event, Live, deletion, encode, frame, parse
from rusd.mvcc.query import RangeResult, Rows
from rusd.mvcc.revision import TOMBSTONE, index_key, index_prefix, revision_key
from rusd.mvcc.rows import CurrentRows, HistoryRows, OverlaidRows
from rusd.mvcc.size import Growth
from rusd.proto import rpc_pb2 as rpc
from rusd.storage import Batch, Family

if TYPE_CHECKING:
    from rusd.mvcc.store import Store

_KEY, _CURRENT, _INDEX = Family.KEY, Family.CURRENT, Family.INDEX
# A NamedTuple's own constructor is Python code and costs twice as much.
_tuple = tuple.__new__
_UNKNOWN = object()


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
        self._write = self.batch.operations.append
        self._growth = Growth()
        #: (revision, its events) in order.
        self.events: list[tuple[int, list[Event]]] = []
        #: User key -> its version now, None where there is none: what was changed or looked at.
        self._overlay: dict[bytes, Live | None] = {}

    def get(self, key: bytes) -> Live | None:
        """The version of `key` now, own changes included."""
        live = self._overlay.get(key, _UNKNOWN)
        if live is _UNKNOWN:
            # Kept, since a condition is often followed by a put of the same key.
            live = self._overlay[key] = self._store.get(key)
        return live  # type: ignore[return-value]

    def keys(self, key: bytes, range_end: bytes) -> list[bytes]:
        """Live keys of the interval now, sorted."""
        if not range_end:
            return [key] if self.get(key) is not None else []
        start, end = bounds(key, range_end)
        live = set(self._engine.scan_keys(Family.CURRENT, start, end))
        for changed, version in self._overlay.items():
            if changed >= start and (end is None or changed < end):
                if version is None:
                    live.discard(changed)
                else:
                    live.add(changed)
        return sorted(live)

    def range(self, request: rpc.RangeRequest) -> RangeResult:
        """Evaluate `request` at its revision (0: now, also within an open txn). Raises
        FUTURE_REVISION or COMPACTED."""
        revision = request.revision
        if not request.range_end and revision <= 0:
            live = self.get(request.key)
            return query.of_one_key(request, None if live is None else frame(live.kv))
        if revision > self.revision:
            raise FUTURE_REVISION
        if 0 < revision < self.compact_revision:
            raise COMPACTED
        start, end = bounds(request.key, request.range_end)
        store = self._store
        rows: Rows
        if 0 < revision < store.revision:
            rows = HistoryRows(self._engine, start, end, revision, lambda: store.compact_revision)
        elif revision > 0:
            # What was committed before this writer, and its own finished txns up to there.
            base = CurrentRows(self._engine, start, end)
            rows = OverlaidRows(base, self._overlay_at(revision), start, end)
        else:
            rows = OverlaidRows(CurrentRows(self._engine, start, end), self._overlay, start, end)
        return query.finish(query.run(request, rows))

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

    def put(self, key: bytes, value: bytes, lease: int) -> Live | None:
        """A revision of its own for one put; returns the version there was before."""
        main = self.revision + 1
        events: list[Event] = []
        before = self._put(main, events, key, value, lease)
        self.revision = main
        self.events.append((main, events))
        return before

    def _put(
        self, main: int, events: list[Event], key: bytes, value: bytes, lease: int
    ) -> Live | None:
        sub = len(events)
        before = self.get(key)
        if before is None:
            create, version, before_kv = main, 1, None
        else:
            create, _, version, _, before_kv = before
            version += 1
        kv = encode(key, create, main, version, value, lease)
        self._growth.put(kv, before_kv)
        write = self._write
        write((_KEY, revision_key(main, sub), kv))
        write((_CURRENT, key, frame(kv)))
        write((_INDEX, index_key(index_prefix(key), main, sub), b""))
        self._overlay[key] = _tuple(Live, (create, main, version, lease, kv))
        events.append(_tuple(Event, (PUT, key, main, sub, kv, before_kv)))
        return before

    def delete(self, key: bytes) -> Live | None:
        """A revision of its own for one deletion; returns the version there was, None (and no
        change) if there was none."""
        main = self.revision + 1
        events: list[Event] = []
        before = self._delete(main, events, key)
        if before is not None:
            self.revision = main
            self.events.append((main, events))
        return before

    def _delete(self, main: int, events: list[Event], key: bytes) -> Live | None:
        before = self.get(key)
        if before is None:
            return None
        sub = len(events)
        tombstone = deletion(key, 0)
        self._growth.delete(tombstone, before.kv)
        write = self._write
        write((_KEY, revision_key(main, sub) + TOMBSTONE, tombstone))
        write((_CURRENT, key, None))
        write((_INDEX, index_key(index_prefix(key), main, sub), TOMBSTONE))
        self._overlay[key] = None
        events.append(_tuple(Event, (DELETE, key, main, sub, deletion(key, main), before.kv)))
        return before

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
        if self.revision != self._store.revision:
            self._store.size.grow(self.batch, self._growth, self.revision)
        self._engine.write(self.batch)
        assert self.revision >= self._store.revision
        self._store.revision = self.revision
        if self.compact_revision != self._store.compact_revision:
            self._store.compacted(self.compact_revision)


class Txn:
    """The changes of one revision, numbered 0, 1, 2 …"""

    __slots__ = ("_events", "_main", "_writer")

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._main = writer.revision + 1
        self._events: list[Event] = []

    @property
    def changed(self) -> bool:
        """True once something was put or deleted."""
        return bool(self._events)

    def put(self, key: bytes, value: bytes, lease: int) -> Live | None:
        """Store `value`; returns the version there was before."""
        return self._writer._put(self._main, self._events, key, value, lease)

    def delete(self, key: bytes) -> Live | None:
        """Remove `key`; returns the version there was, None (and no change) if there was none."""
        return self._writer._delete(self._main, self._events, key)

    def end(self) -> int:
        """Close the txn: the writer's revision, one further if anything changed."""
        if self._events:
            self._writer.revision = self._main
            self._writer.events.append((self._main, self._events))
        return self._writer.revision
