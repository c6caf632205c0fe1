"""The size of the store by etcd's measure, for the quota and for metrics.

etcd keeps every version once, in pages of a file that only a defragmentation makes smaller:

    in use     what the rows of live keys, of history and of tombstones take in pages
    allocated  the most that was in use since the last defragmentation

The size of rusd's own files differs: live values are stored twice, and RocksDB compresses and frees
asynchronously. So rows are counted as etcd would store them. Every change counts the version it
writes and the one it supersedes. Marks of the running total tell how much a compaction removes,
without reading rows:

    META "size"             the totals, in every batch that changes them
    META "size/<revision>"  what was superseded up to about every thousandth revision, and before
                            and after a change that supersedes much at once

Between two marks the total is interpolated; an error made so is gone after the next compaction,
since the total itself is exact. In a data directory of an earlier version, or one that such a
version has written to since, everything is counted once, when it is opened.

Pages that a compaction leaves half empty are not modelled: until it is defragmented, etcd may show
more in use.
"""

import struct
from collections.abc import Generator
from typing import NamedTuple

from rusd.base.logs import get_logger
from rusd.mvcc.revision import REVISION_SIZE, revision_key
from rusd.storage import Batch, Engine, Family
from rusd.wire.keyvalue import kv_of

log = get_logger(__name__)

#: In use in a store without keys, and allocated beyond what is in use (measured of etcd 3.7).
EMPTY = 16_384
SPARE = 4_096
#: Rows between two yields.
SLICE = 500
#: Revisions between two marks, and superseded bytes of one change that get marks of their own.
MARK_EVERY = 1000
MARK_LEAP = 1 << 20

_PAGE = 4096
#: How far etcd fills the pages of its bucket of keys.
_FILLED = _PAGE * 9 // 10
_PAGE_HEADER = 16
#: Of a row: bbolt's element header and the revision.
_ROW_HEADER = 16 + REVISION_SIZE
#: bbolt divides no page into pages of fewer rows.
_LEAST_ROWS = 2


def row_size(length: int) -> int:
    """Returns the bytes of a version of `length` encoded bytes, in pages filled with its like."""
    row = _ROW_HEADER + length
    count = max((_FILLED - _PAGE_HEADER) // row, _LEAST_ROWS)
    pages = -(-(_PAGE_HEADER + count * row) // _PAGE)
    return pages * _PAGE // count


_SMALL = [row_size(length) for length in range(_PAGE)]


def _size(kv: bytes) -> int:
    length = len(kv)
    return _SMALL[length] if length < _PAGE else row_size(length)


class Growth:
    """Bytes that uncommitted changes add."""

    __slots__ = ("live", "superseded")

    def __init__(self) -> None:
        #: Of the newest versions of live keys; may be negative.
        self.live = 0
        #: Of versions that were replaced or deleted, and of tombstones.
        self.superseded = 0

    def put(self, kv: bytes, before: bytes | None) -> None:
        """Count a version and the one it replaces."""
        if before is None:
            self.live += _size(kv)
        else:
            old = _size(before)
            self.live += _size(kv) - old
            self.superseded += old

    def mark(self) -> None:
        """Count a row that is of no key: the mark of a bumped revision."""
        self.superseded += _SMALL[0]

    def delete(self, tombstone: bytes, before: bytes) -> None:
        """Count a tombstone and the version it ends."""
        old = _size(before)
        self.live -= old
        self.superseded += old + _size(tombstone)


def tombstones_at(engine: Engine, revision: int) -> Generator[int, None, int]:
    """Returns the bytes of the tombstones of one revision; yields 0 after each slice."""
    found = 0
    position, end = revision_key(revision), revision_key(revision + 1)
    while rows := engine.cursor(Family.KEY, position, end).pairs(SLICE):
        found += sum(_size(kv) for key, kv in rows if len(key) > REVISION_SIZE)
        position = rows[-1][0] + b"\0"
        yield 0
    return found


class _Totals(NamedTuple):
    """The stored totals."""

    live: int
    superseded: int
    #: Of `superseded`, what compactions have removed.
    removed: int
    #: The most that was in use.
    peak: int
    #: Revision of the store, and of the last finished compaction, that this belongs to.
    revision: int
    finished: int

    @property
    def in_use(self) -> int:
        return EMPTY + self.live + self.superseded - self.removed


_KEY = b"size"
_MARKS = b"size/"
_MARKS_END = b"size0"
_RECORD = struct.Struct(">6q")
_NUMBER = struct.Struct(">q")


class StoreSize:
    """The size of one store."""

    def __init__(self) -> None:
        self._totals = _Totals(0, 0, 0, EMPTY, 1, -1)

    @property
    def in_use(self) -> int:
        """Bytes in use: `allocated` without free pages."""
        return self._totals.in_use

    @property
    def allocated(self) -> int:
        """Bytes allocated, by etcd's measure."""
        return self._totals.peak + SPARE

    def load(self, engine: Engine, revision: int, finished: int) -> None:
        """Read the stored totals of a store at `revision`, compacted to `finished`."""
        stored = engine.get(Family.META, _KEY)
        if stored is not None:
            self._totals = _Totals(*_RECORD.unpack(stored))
            if self._totals[-2:] == (revision, finished):
                return
        self._count(engine, revision, finished)

    def _count(self, engine: Engine, revision: int, finished: int) -> None:
        live = sum(_size(kv_of(framed)) for _, framed in engine.whole(Family.CURRENT))
        rows = sum(_size(kv) for _, kv in engine.whole(Family.KEY))
        batch = Batch()
        for mark in engine.scan_keys(Family.META, _MARKS, _MARKS_END):
            batch.delete(Family.META, mark)
        peak = EMPTY + rows
        self._write(batch, _Totals(live, rows - live, 0, peak, revision, finished))
        if rows:
            log.info("counted the size of the store", extra={"fields": {"in-use": peak}})
            engine.write(batch)

    def grow(self, batch: Batch, growth: Growth, revision: int) -> None:
        """Add a commit: `batch` brings the store to `revision`."""
        live, superseded, removed, peak, before, finished = self._totals
        live += growth.live
        leap = growth.superseded > MARK_LEAP
        if leap:
            batch.put(Family.META, _MARKS + _NUMBER.pack(before), _NUMBER.pack(superseded))
        superseded += growth.superseded
        peak = max(peak, EMPTY + live + superseded - removed)
        if leap or revision // MARK_EVERY != before // MARK_EVERY:
            batch.put(Family.META, _MARKS + _NUMBER.pack(revision), _NUMBER.pack(superseded))
        self._write(batch, _Totals(live, superseded, removed, peak, revision, finished))

    def compacted(self, engine: Engine, batch: Batch, target: int, kept: int) -> None:
        """Subtract a compaction: `batch` finishes that to `target`, which kept tombstones of `kept`
        bytes.
        """
        removed = max(self._totals.removed, self._superseded_up_to(engine, target) - kept)
        for mark in engine.scan_keys(Family.META, _MARKS, _mark(target + 1)):
            batch.delete(Family.META, mark)
        self._write(batch, self._totals._replace(removed=removed, finished=target))

    def defragmented(self, batch: Batch) -> None:
        """Set the allocated bytes to those in use."""
        self._write(batch, self._totals._replace(peak=self._totals.in_use))

    def _superseded_up_to(self, engine: Engine, revision: int) -> int:
        totals = self._totals
        if revision >= totals.revision:
            return totals.superseded
        low, high = (totals.finished, totals.removed), (totals.revision, totals.superseded)
        before = engine.last_before(Family.META, _MARKS, _mark(revision + 1))
        if before is not None:
            low = _parse(*before)
        behind = engine.cursor(Family.META, _mark(revision + 1), _MARKS_END).pairs(1)
        if behind:
            high = _parse(*behind[0])
        part = (revision - low[0]) / (high[0] - low[0])
        return low[1] + int((high[1] - low[1]) * part)

    def _write(self, batch: Batch, totals: _Totals) -> None:
        self._totals = totals
        batch.put(Family.META, _KEY, _RECORD.pack(*totals))


def _mark(revision: int) -> bytes:
    return _MARKS + _NUMBER.pack(revision)


def _parse(mark: bytes, superseded: bytes) -> tuple[int, int]:
    return _NUMBER.unpack_from(mark, len(_MARKS))[0], _NUMBER.unpack(superseded)[0]
