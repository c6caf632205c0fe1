"""Compaction: what is recorded at once, and the removal of superseded versions in slices.

Applying a compaction writes one mark (`scheduledCompactRev`, etcd's name); from then on older
revisions are refused. Removal keeps, for each key, its newest version at or below the compact
revision, unless that is a tombstone. A tombstone *at* the compact revision stays until the next
compaction, since a watch may still start there.

Work is proportional to the revisions since the last finished compaction: every version that can go
belongs to a key that changed in them, and the index finds the key's older versions.
"""

from collections.abc import Generator, Iterable

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

#: Revisions looked at, and versions removed, in one slice.
SLICE = 250

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
    position, end = revision_key(max(finished, 0)), revision_key(target + 1)
    removal = _Removal(engine, target)
    # A cursor for each piece, not one for all: it would keep what is removed from being freed.
    changed = engine.cursor(Family.KEY, position, end).pairs(SLICE)
    while changed:
        yield from removal.of({key_of(kv): None for _, kv in changed})
        changed = engine.cursor(Family.KEY, changed[-1][0] + b"\0", end).pairs(SLICE)
        if changed:
            removal.write()
            yield
    removal.batch.put(Family.META, _FINISHED, revision_key(target))
    removal.write()


class _Removal:
    """Removes superseded versions of keys, a slice at a step."""

    def __init__(self, engine: Engine, target: int) -> None:
        self._engine = engine
        self._target = target
        self.batch = Batch()

    def write(self) -> None:
        """Remove for good what was collected."""
        if self.batch:
            self._engine.write(self.batch)
            self.batch = Batch()

    def of(self, keys: Iterable[bytes]) -> Generator[None, None, None]:
        """Collect every version of `keys` that the target makes unreadable, and write what is too
        much for one slice."""
        versions = self._engine.cursor(Family.INDEX, b"", None)
        for key in keys:
            prefix = index_prefix(key)
            end = index_key(prefix, self._target + 1, 0)
            versions.seek(prefix)
            older: tuple[bytes, bytes] | None = None
            # Few at first, since most keys have few versions.
            count = 2
            while found := versions.pairs(count):
                mine = [version for version in found if version[0] < end]
                for version in mine:
                    if older is not None:
                        self._delete(*older)
                    older = version
                if len(mine) < len(found):
                    break
                count = min(4 * count, SLICE)
                if len(self.batch) >= 2 * SLICE:
                    self.write()
                    yield
            # A tombstone at the target itself stays for watches that start there.
            if older is None or older[1] != TOMBSTONE:
                continue
            if parse_index_key(older[0])[1] < self._target:
                self._delete(*older)

    def _delete(self, index: bytes, mark: bytes) -> None:
        _, main, sub = parse_index_key(index)
        self.batch.delete(Family.INDEX, index)
        self.batch.delete(Family.KEY, revision_key(main, sub) + mark)
