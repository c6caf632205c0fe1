"""The history of keys of etcd's file to the families KEY, INDEX and CURRENT.

The file has it in the order of revisions, which is that of KEY. INDEX and CURRENT are in the order
of keys: their rows are collected and sorted, a part of the history at a time, since memory must not
grow with the history. Each part becomes a table of its own in each family.
"""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

from rusd.backup.errors import SnapshotError
from rusd.bbolt import Item
from rusd.mvcc.revision import (
    REVISION_SIZE,
    TOMBSTONE,
    index_key,
    index_prefix,
    parse_revision_key,
    revision_key,
)
from rusd.proto import kv_pb2
from rusd.storage import Batch, Engine, Family
from rusd.wire.keyvalue import frame, varint

#: Rows, and bytes of keys and values, of one part.
PART_ROWS: Final = 250_000
PART_BYTES: Final = 128 << 20
_SEPARATOR: Final = ord("_")

_parse: Final = kv_pb2.KeyValue.FromString


class History:
    """Restores the history once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        #: The newest revision; 0 if there is none.
        self.newest = 0
        #: Puts and tombstones.
        self.rows = 0
        #: The lease of every live key that has one.
        self.leased: dict[bytes, int] = {}
        #: Of this part: the keys in KEY of each user key's versions, a list if there are several.
        self._versions: dict[bytes, bytes | list[bytes]] = {}
        #: Of this part: the last version of each user key, None if it is a tombstone.
        self._last: dict[bytes, bytes | None] = {}

    def restore(self, items: Iterator[Item]) -> None:
        """Write all rows. Raises SnapshotError, BboltError, DecodeError, StorageError."""
        load = self._engine.load
        for first in items:
            load(Family.KEY, self._part(chain((first,), items)))
            keys = sorted(self._versions)
            load(Family.INDEX, self._index_rows(keys))
            load(Family.CURRENT, self._current_rows(keys))
            self._versions.clear()
            self._last.clear()

    def _part(self, items: Iterable[Item]) -> Iterator[tuple[bytes, bytes]]:
        """Yield the rows of one part; collect what the other families have of them."""
        versions, last, leased = self._versions, self._last, self.leased
        rows, size, row = 0, 0, b""
        for row, kv, is_bucket in items:
            # (Most rows are puts: a call for each takes a tenth of the time.)
            if len(row) != REVISION_SIZE or row[8] != _SEPARATOR or row[0] > 127 or row[9] > 127:
                check_revision(row)
            if is_bucket:
                raise SnapshotError(f"damaged: the bucket of keys holds a bucket {row!r}")
            message = _parse(kv)
            key = message.key
            length = len(key)
            # (Of fields in another order, which etcd never writes, `key_of` would read no key.)
            head = _HEADS[length] if length < len(_HEADS) else _head(length)
            # (A row without a value is etcd's mark of a bumped revision.)
            if kv and not (length and kv.startswith(head + key)):
                raise SnapshotError(f"damaged: {row!r} holds no key")
            yield row, kv
            rows += 1
            size += len(kv)
            before = versions.get(key)
            if before is None:
                versions[key] = row
            elif isinstance(before, list):
                before.append(row)
            else:
                versions[key] = [before, row]
            last[key] = kv if len(row) == REVISION_SIZE else None
            if lease := message.lease:
                leased[key] = lease
            elif leased:
                leased.pop(key, None)
            if size >= PART_BYTES or rows >= PART_ROWS:
                break
        self.rows += rows
        self.newest = parse_revision_key(row)[0]

    def _index_rows(self, keys: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
        for key in keys:
            prefix, rows = index_prefix(key), self._versions[key]
            for row in rows if isinstance(rows, list) else (rows,):
                yield b"%b%b%b" % (prefix, row[:8], row[9:REVISION_SIZE]), row[REVISION_SIZE:]

    def _current_rows(self, keys: list[bytes]) -> Iterator[tuple[bytes, bytes | None]]:
        for key in keys:
            if key:
                kv = self._last[key]
                yield key, None if kv is None else frame(kv)


def _head(length: int) -> bytes:
    """What an encoded KeyValue begins with, before a key of this length."""
    return b"\x0a" + varint(length)


#: Of the most usual lengths.
_HEADS: Final = [_head(length) for length in range(256)]


def check_revision(row: bytes) -> None:
    """Raise SnapshotError if the key of a row is no revision."""
    if (
        (len(row) != REVISION_SIZE and (len(row) != REVISION_SIZE + 1 or row[-1:] != TOMBSTONE))
        or row[8:9] != b"_"
        # (Both numbers are int64.)
        or row[0] > 127
        or row[9] > 127
    ):
        raise SnapshotError(f"damaged: {row!r} is no revision")


def mark_bump(batch: Batch, revision: int) -> None:
    """Write the row by which etcd marks a bumped revision: a version of a key without a name.

    A file made from the state has it, so that the next bump begins above. It is in INDEX too, since
    a compaction keeps the last one only, and HashKV covers it.
    """
    batch.put(Family.KEY, revision_key(revision), b"")
    batch.put(Family.INDEX, index_key(index_prefix(b""), revision, 0), b"")
