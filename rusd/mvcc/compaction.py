"""Compaction: one mark at apply, then removal of superseded versions in slices.

Applying a compaction writes a mark (`scheduledCompactRev`, etcd's name); from then on, lower
revisions are refused. Removal keeps, for each key, its newest version at or below the compact
revision, unless that is a tombstone. A tombstone *at* the compact revision stays until the next
compaction, since a watch may start there.

The work is proportional to the revisions since the last finished compaction: every version to
remove belongs to a key that was deleted or put again in them, and the index finds the key's older
versions.
"""

from collections.abc import Generator, Iterable

from rusd.mvcc.revision import (
    REVISION_SIZE,
    index_key,
    index_prefix,
    parse_index_key,
    parse_revision_key,
    revision_key,
    revision_key_of,
)
from rusd.proto import kv_pb2
from rusd.storage import Batch, Engine, Family

#: Revisions or keys read, and versions removed, in one slice at most.
SLICE = 250
#: Keys looked up together in key order: adjacent keys share blocks of the index.
CHUNK = 10_000

_parse = kv_pb2.KeyValue.FromString

_SCHEDULED = b"scheduledCompactRev"
_FINISHED = b"finishedCompactRev"


def marks(engine: Engine) -> tuple[int, int]:
    """Returns (compact revision, revision up to which removal is finished); -1 if absent."""
    return _mark(engine, _SCHEDULED), _mark(engine, _FINISHED)


def _mark(engine: Engine, name: bytes) -> int:
    stored = engine.get(Family.META, name)
    return -1 if stored is None else parse_revision_key(stored)[0]


def schedule(batch: Batch, revision: int) -> None:
    """Record that revisions below `revision` cannot be read."""
    batch.put(Family.META, _SCHEDULED, revision_key(revision))


def remove(
    engine: Engine, finished: int, target: int, limit: int = SLICE
) -> Generator[int, None, None]:
    """Remove versions that `target` supersedes; those of compaction `finished` are removed already.

    Yields the number of versions removed after each slice, `limit` at most.
    """
    removal = _Removal(engine, target, min(limit, SLICE))
    # From `finished` on, since tombstones at it remained.
    for keys in superseding_keys(engine, max(finished, 0), target):
        yield from removal.of(keys) if keys else (0,)
    yield removal.write()


def finish(batch: Batch, target: int) -> None:
    """Record that the versions that `target` supersedes are removed."""
    batch.put(Family.META, _FINISHED, revision_key(target))


def superseding_keys(engine: Engine, start: int, end: int) -> Generator[list[bytes], None, None]:
    """The keys of which a revision from `start` to `end` deletes or replaces an earlier version.

    Yields sorted lists (a key may be in several); an empty list after a slice that found none.
    """
    position, behind = revision_key(start), revision_key(end + 1)
    keys: set[bytes] = set()
    # A cursor for each part: one for all would keep RocksDB from freeing removed rows.
    while changed := engine.cursor(Family.KEY, position, behind).pairs(SLICE):
        for revision, kv in changed:
            parsed = _parse(kv)
            # A key's first version replaces nothing.
            if parsed.version != 1 or len(revision) > REVISION_SIZE:
                keys.add(parsed.key)
        position = changed[-1][0] + b"\0"
        if len(keys) >= CHUNK:
            yield sorted(keys)
            keys.clear()
        else:
            yield []
    yield sorted(keys)


class _Removal:
    """Removes superseded versions of keys, a slice at a step."""

    def __init__(self, engine: Engine, target: int, limit: int) -> None:
        self._engine = engine
        self._target = target
        self._limit = limit
        self._batch = Batch()

    def write(self) -> int:
        """Write the collected removals; returns the number of versions."""
        count = len(self._batch) // 2
        if count:
            self._engine.write(self._batch)
            self._batch.clear()
        return count

    def of(self, keys: Iterable[bytes]) -> Generator[int, None, None]:
        """Remove every version of `keys` (sorted) that the target supersedes."""
        index = self._engine.cursor(Family.INDEX, b"", None)
        target, batch, full = self._target, self._batch, 2 * self._limit
        for number, key in enumerate(keys, 1):
            prefix = index_prefix(key)
            start, end = prefix, index_key(prefix, target + 1, 0)
            newest: tuple[bytes, bytes] | None = None
            while versions := index.between(start, end, SLICE):
                for version in versions:
                    if newest is not None:
                        self._delete(*newest)
                        if len(batch) >= full:
                            yield self.write()
                    newest = version
                if len(versions) < SLICE:
                    break
                start = versions[-1][0] + b"\0"
            # A tombstone at the target itself stays for watches that start there.
            if newest is not None and newest[1] and parse_index_key(newest[0])[1] < target:
                self._delete(*newest)
            if len(batch) >= full or not number % SLICE:
                yield self.write()

    def _delete(self, index: bytes, mark: bytes) -> None:
        write = self._batch.operations.append
        write((Family.INDEX, index, None))
        write((Family.KEY, revision_key_of(index) + mark, None))
