"""The MVCC store: committed state, its reads, and writers."""

import threading
from collections.abc import Generator, Iterator

from rusd.base import sliced
from rusd.mvcc import compaction, history, key_versions, range_query, uncommitted
from rusd.mvcc import hash as hashes
from rusd.mvcc.counts import Counts
from rusd.mvcc.errors import Compacted, FutureRevision
from rusd.mvcc.hash import CompactionHashes, HashResult
from rusd.mvcc.history import LongRevision
from rusd.mvcc.interval import bounds
from rusd.mvcc.key_counts import KeyCounts
from rusd.mvcc.key_versions import KeyVersion
from rusd.mvcc.ports import Rows
from rusd.mvcc.range_query import RangeResult
from rusd.mvcc.revision import parse_revision_key
from rusd.mvcc.rows import CurrentRows, HistoryRows
from rusd.mvcc.size import StoreSize, tombstones_at
from rusd.mvcc.writer import Txn, Writer
from rusd.storage import Batch, Engine, Family
from rusd.wire.keyvalue import Event, Live, unpack
from rusd.wire.range_request import RangeRequest

__all__ = ["Event", "HashResult", "Live", "RangeResult", "Store", "Txn", "Writer"]


class Store:
    """Committed revisions over one engine. One writer at a time."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        #: The newest committed revision; 1 in a fresh store.
        self.revision = 1
        #: Lower revisions cannot be read; -1 before the first compaction.
        self.compact_revision = -1
        #: Compact revision up to which superseded versions are removed.
        self.finished_compact_revision = -1
        #: The compact revision before the current one, if its removal was finished.
        self._finished_before: int | None = None
        self._hashes = CompactionHashes()
        #: By etcd's measure.
        self.size = StoreSize()
        #: Held while rows of an uncommitted revision are in the engine (`uncommitted`), or while a
        #: checkpoint is written, which must contain none.
        self.checkpoint_lock = threading.Lock()
        #: Operations, for metrics.
        self.counts = Counts()
        #: Numbers of keys in intervals.
        self.key_counts = KeyCounts()
        self.reopen(engine)

    def reopen(self, engine: Engine) -> None:
        """Continue with another engine, after a snapshot was installed."""
        self.engine = engine
        self.key_counts.clear()
        uncommitted.forget(engine)
        self.compact_revision, self.finished_compact_revision = compaction.marks(engine)
        self._finished_before = None
        newest = engine.last_before(Family.KEY, b"", None)
        last = parse_revision_key(newest[0])[0] if newest else 1
        self.revision = max(last, self.compact_revision, 1)
        self.size.load(engine, self.revision, self.finished_compact_revision)

    def get(self, key: bytes) -> Live | None:
        """Returns the live version of `key`, or None if absent."""
        stored = self.engine.get(Family.CURRENT, key)
        return None if stored is None else unpack(stored)

    def row(self, key: bytes) -> bytes | None:
        """Returns the live version of `key` as `rows` gives it, or None if absent."""
        return self.engine.get(Family.CURRENT, key)

    def check_readable(self, revision: int) -> None:
        """Raise FutureRevision or Compacted unless `revision` can be read (0 and below: now)."""
        if revision > self.revision:
            raise FutureRevision
        if 0 < revision < self.compact_revision:
            raise Compacted

    def range(self, request: RangeRequest) -> RangeResult:
        """Evaluate `request` at once. Raises FutureRevision or Compacted."""
        if not request.range_end and request.revision <= 0:
            return range_query.of_one_key(request, self.row(request.key))
        return sliced.finish(self.range_slices(request))

    def range_slices(self, request: RangeRequest) -> Generator[None, None, RangeResult]:
        """`range` in slices of some thousand keys, all seen at one revision. Raises, at the first
        step, what `range` raises; and Compacted later if a compaction overtakes it.
        """
        start, end = bounds(request.key, request.range_end)
        return (yield from range_query.run(request, self.rows(start, end, request.revision)))

    def rows(self, start: bytes, end: bytes | None, revision: int = 0) -> Rows:
        """Return the live keys of [start, end) at `revision` (0 and below: now), to be read in
        parts, all as of that revision. Raises FutureRevision or Compacted. Reading an older
        revision also raises Compacted once a compaction has passed it.

        To be read soon: their cursor keeps deleted data on disk.
        """
        self.check_readable(revision)
        if 0 < revision < self.revision:
            compacted = lambda: self.compact_revision  # noqa: E731
            return HistoryRows(lambda: self.engine, start, end, revision, compacted)
        return CurrentRows(self.engine, start, end, self.key_counts)

    def history(
        self, start_revision: int, *, limit_revisions: int
    ) -> Iterator[tuple[int, list[Event] | LongRevision]]:
        """Return (revision, its events) in order from `start_revision` on, at most
        `limit_revisions`. Raises Compacted if `start_revision` lies below the compact revision.
        """
        if start_revision < self.compact_revision:
            raise Compacted
        return history.history(
            self.engine, start_revision, self.revision, self.compact_revision, limit_revisions
        )

    def versions(
        self, key: bytes, last: int, limit: int
    ) -> Generator[None, None, tuple[list[KeyVersion], bool]]:
        """Return (the changes of `key` at or below revision `last` that can be read, newest first,
        `limit` at most; True if older ones follow), in slices.
        """
        return key_versions.newest(
            lambda: self.engine, key, last, limit, lambda: self.compact_revision
        )

    def begin(self) -> Writer:
        """Returns a writer on the committed state. Without a commit it changes nothing."""
        return Writer(self)

    def hash_kv(self, revision: int) -> Generator[None, None, HashResult]:
        """Return etcd's HashKV, in slices: the hash taken by the compaction to `revision`, else
        that of all versions readable at `revision` (0: now). Raises FutureRevision or Compacted at
        the first step.
        """
        taken = self._hashes.get(revision)
        return taken if taken is not None else (yield from self.hash_readable(revision))

    def hash_readable(self, revision: int) -> Generator[None, None, HashResult]:
        """Return the hash of the versions readable now, in slices; raises as `hash_kv`. Members
        that restarted since the compaction can compare it too.
        """
        self.check_readable(revision)
        at = revision or self.revision
        return (yield from hashes.hash_kv(self.engine, at, self.compact_revision))

    def defragmented(self) -> None:
        """Update the size after the engine was defragmented."""
        batch = Batch()
        self.size.defragmented(batch)
        self.engine.write(batch)

    def hash_slices(self) -> Generator[None, None, int]:
        """Return a checksum over everything committed, in slices (etcd's Hash)."""
        return hashes.hash_everything(self.engine, self.revision)

    def compacted(self, revision: int) -> None:
        """Raise the compact revision to `revision`; superseded versions are still stored."""
        finished = self.finished_compact_revision == self.compact_revision
        self._finished_before = self.compact_revision if finished else None
        self.compact_revision = revision

    def compact_slices(self, limit: int = compaction.SLICE) -> Generator[int, None, None]:
        """Remove superseded versions up to the compact revision; yields after each slice how many
        that were, `limit` at most. The last step records that it is finished. Safe to abandon: the
        next call goes on.

        Takes the compaction's hash before, unless an earlier compaction was not finished when this
        one came, or part of the removal was done before: members could not agree on it then.
        """
        target, previous, self._finished_before = self.compact_revision, self._finished_before, None
        taken = None
        if previous is not None:
            hashing = hashes.hash_of_compaction(self.engine, previous, target)
            taken = yield from _counting_nothing(hashing)
        yield from compaction.remove(self.engine, self.finished_compact_revision, target, limit)
        kept = yield from tombstones_at(self.engine, target)
        batch = Batch()
        compaction.finish(batch, target)
        self.size.compacted(self.engine, batch, target, kept)
        self.engine.write(batch)
        self.finished_compact_revision = target
        if taken is not None:
            self._hashes.add(taken)


def _counting_nothing(
    hashing: Generator[None, None, HashResult],
) -> Generator[int, None, HashResult]:
    """Yield the slices, each as one that removes no version."""
    while True:
        try:
            next(hashing)
        except StopIteration as end:
            result: HashResult = end.value
            return result
        yield 0
