"""What an earlier file of the same member has of its state as it is now.

Rows of the key history are never changed, and new ones come behind all others; compaction removes
some. So a leaf of the earlier file that has the keys of now has their values too. If no compaction
was scheduled since, and none was under way, all leaves have: else the keys are compared.

    earlier file ─▶ leaves that stay | intervals of keys whose rows are written anew

Both are files of one member in one life: it starts with none.
"""

from collections.abc import Iterator, Sequence
from itertools import compress, islice
from pathlib import Path
from typing import Final, NamedTuple

from rusd.backup import etcd_records as etcd
from rusd.backup.errors import SnapshotError
from rusd.backup.snapshot_check import mapped
from rusd.bbolt import BboltError, Database, Kept, KeptLeaf
from rusd.bbolt.reader import Page, leaf_key, leaf_keys
from rusd.bbolt.writer import LEAF
from rusd.mvcc import compaction
from rusd.storage import Engine, Family

#: Part of the earlier file that must stay, at least; else the file is made as a whole. It bounds
#: what a file has of free pages.
STAYS: Final = 0.75
#: Bytes of the last leaf below which it is written anew, together with what follows it.
SHORT: Final = LEAF // 2


class Interval(NamedTuple):
    """Rows of the key history with keys of [start, end); None: to the last one."""

    start: bytes
    end: bytes | None


class Reuse(NamedTuple):
    """The key history as a file that goes on from the earlier one has it."""

    #: Pages of the earlier file.
    pages: int
    #: In the order of their keys.
    parts: Sequence[Kept | Interval]
    #: Rows of the intervals, and the bytes of their keys and values.
    rows: int
    size: int


def find(engine: Engine, path: Path) -> Reuse | None:
    """Return what stays of the file at `path`. None: too little, or it is damaged.

    The file stays mapped until the process ends. Raises StorageError, OSError.
    """
    try:
        return _find(engine, Database(mapped(path)))
    except (BboltError, SnapshotError):
        return None


def _find(engine: Engine, database: Database) -> Reuse | None:
    bucket = database.bucket(etcd.KEY)
    if bucket is None or not bucket.root:
        return None
    leaves = list(bucket.leaves())
    stays = [True] * len(leaves) if _settled(engine, database) else _compared(engine, leaves)
    stays[-1] = stays[-1] and len(leaves[-1].data) >= SHORT
    staying = sum(len(leaf.data) for leaf in compress(leaves, stays))
    if staying < STAYS * database.meta.pages * database.meta.page_size:
        return None
    parts = list(_parts(leaves, stays))
    rows, size = 0, 0
    for part in parts:
        if isinstance(part, Interval):
            more, its = engine.count(Family.KEY, *part)
            rows, size = rows + more, size + its
    return Reuse(database.meta.pages, parts, rows, size)


def _settled(engine: Engine, database: Database) -> bool:
    """Return whether nothing was removed since, and nothing was about to be."""
    scheduled, finished = compaction.marks(engine)
    now = etcd.compaction_marks(scheduled, finished)
    meta = database.bucket(etcd.META)
    names = (etcd.SCHEDULED_COMPACTION, etcd.FINISHED_COMPACTION)
    return (
        meta is not None
        and scheduled == finished
        and all(meta.get(name) == now.get(name) for name in names)
    )


def _compared(engine: Engine, leaves: Sequence[Page]) -> list[bool]:
    """Return which leaves have the same keys as the database where they lie."""
    stays = []
    keys = engine.whole_keys(Family.KEY)
    for index, leaf in enumerate(leaves):
        expected = leaf_keys(leaf)
        stays.append(list(islice(keys, len(expected))) == expected)
        if not stays[-1] and index + 1 < len(leaves):
            keys = engine.whole_keys(Family.KEY, leaf_key(leaves[index + 1], 0))
    return stays


def _parts(leaves: Sequence[Page], stays: Sequence[bool]) -> Iterator[Kept | Interval]:
    """Yield the leaves that stay, and the intervals between, before and behind them."""
    start, kept = b"", list[KeptLeaf]()
    for leaf, its in zip(leaves, stays, strict=True):
        if its:
            first, last = leaf_key(leaf, 0), leaf_key(leaf, leaf.elements - 1)
            if not kept and first > start:
                yield Interval(start, first)
            kept.append(KeptLeaf(first, last, leaf.number, leaf.overflow + 1))
            start = last + b"\0"
        elif kept:
            yield Kept(kept)
            kept = []
    if kept:
        yield Kept(kept)
    yield Interval(start, None)
