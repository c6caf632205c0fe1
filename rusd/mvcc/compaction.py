"""Compaction: what is recorded at once, and the removal of superseded versions in slices.

Applying a compaction writes one mark (`scheduledCompactRev`, etcd's name); from then on older
revisions are refused. Removal keeps, for each key, its newest version at or below the compact
revision, unless that is a tombstone. A tombstone *at* the compact revision stays until the next
compaction, since a watch may still start there.

Work is proportional to the revisions since the last finished compaction: every version that can go
belongs to a key that changed in them, and the index finds the key's older versions.
"""

from collections.abc import Generator, Iterator
from itertools import islice

from rusd.mvcc.keyvalue import key_of
from rusd.mvcc.revision import (
    TOMBSTONE,
    index_key,
    index_prefix,
    parse_index_key,
    parse_revision_key,
    revision_key,
)
from rusd.storage import Batch, Engine, Family

#: Revisions looked at, and versions removed, in one slice (etcd's CompactionBatchLimit).
SLICE = 1000

_SCHEDULED = b"scheduledCompactRev"
_FINISHED = b"finishedCompactRev"


def marks(engine: Engine) -> tuple[int, int]:
    """(compact revision, revision up to which removal is finished); -1 where there is none."""
    return _mark(engine, _SCHEDULED), _mark(engine, _FINISHED)


def _mark(engine: Engine, name: bytes) -> int:
    stored = engine.get(Family.META, name)
    return -1 if stored is None else parse_revision_key(stored)[0]


def schedule(batch: Batch, revision: int) -> None:
    """Record that revisions below `revision` are gone."""
    batch.put(Family.META, _SCHEDULED, revision_key(revision))


def remove(engine: Engine, finished: int, target: int) -> Generator[None, None, None]:
    """Remove what `target` supersedes, given that `finished` was dealt with before."""
    position = revision_key(max(finished, 0))
    while True:
        changed = list(
            islice(engine.scan(Family.KEY, position, revision_key(target + 1)), SLICE + 1)
        )
        for key in {key_of(kv): None for _, kv in changed[:SLICE]}:
            yield from _remove_versions(engine, key, target)
        if len(changed) <= SLICE:
            break
        position = changed[SLICE][0]
        yield
    batch = Batch()
    batch.put(Family.META, _FINISHED, revision_key(target))
    engine.write(batch)


def _remove_versions(engine: Engine, key: bytes, target: int) -> Generator[None, None, None]:
    """Remove the superseded versions of one key, a slice at a step."""
    batch = Batch()
    for index, revision in _superseded(engine, key, target):
        batch.delete(Family.INDEX, index)
        batch.delete(Family.KEY, revision)
        if len(batch) >= 2 * SLICE:
            engine.write(batch)
            batch = Batch()
            yield
    if batch:
        engine.write(batch)


def _superseded(engine: Engine, key: bytes, target: int) -> Iterator[tuple[bytes, bytes]]:
    """(index key, revision key) of every version of `key` that `target` makes unreadable."""
    prefix = index_prefix(key)
    older: tuple[bytes, bytes] | None = None
    main, mark = 0, b""
    for index, mark in engine.scan(Family.INDEX, prefix, index_key(prefix, target + 1, 0)):
        if older is not None:
            yield older
        _, main, sub = parse_index_key(index)
        older = index, revision_key(main, sub) + mark
    if older is not None and mark == TOMBSTONE and main < target:
        yield older
