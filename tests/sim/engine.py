"""The storage engine in memory, with RocksDB's promises: batches are atomic, and a crash keeps all
that was synced and any prefix of what was not.
"""

import itertools
import pickle
import random
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from sortedcontainers import SortedDict

from rusd.base.distribution import DISK_SECONDS, Distribution
from rusd.storage import Batch, Family, RangeEnd, StorageError

_DATA, _ID = "data", "id"
_ids = itertools.count(1)

Undo = list[tuple[Family, bytes, bytes | None]]


class Store:
    """Content of one database directory on a disk."""

    def __init__(self) -> None:
        self.families: dict[Family, SortedDict] = {family: SortedDict() for family in Family}
        #: What undoes each batch since the last sync, oldest first.
        self.unsynced: list[Undo] = []

    def crash(self, chance: random.Random) -> None:
        """Keep some of what was not synced."""
        keep = chance.randint(0, len(self.unsynced))
        for undo in reversed(self.unsynced[keep:]):
            for family, key, value in reversed(undo):
                if value is None:
                    self.families[family].pop(key, None)
                else:
                    self.families[family][key] = value
        self.unsynced.clear()


#: All databases of the running schedule.
stores: dict[str, Store] = {}


def copies_of(directory: Path) -> dict[str, Store]:
    """Copies of the databases that lie under a directory, by their numbers."""
    found = {}
    for name in directory.rglob(_ID):
        found[name.read_text()] = copy = Store()
        for family, rows in stores[name.read_text()].families.items():
            copy.families[family].update(rows)
    return found


class MemoryEngine:
    """`rusd.storage.Engine`."""

    def __init__(self, directory: Path, store: Store) -> None:
        self.directory = directory
        self.store = store
        self.on_damage: Callable[[StorageError], None] = lambda error: None
        self.write_seconds = Distribution(DISK_SECONDS)

    @classmethod
    def open(cls, directory: Path) -> "MemoryEngine":
        directory.mkdir(parents=True, exist_ok=True)
        name, data = directory / _ID, directory / _DATA
        if data.exists():
            store = Store()
            for family, pairs in pickle.loads(data.read_bytes()).items():
                store.families[Family(family)].update(pairs)
            data.unlink()
        elif name.exists():
            return cls(directory, stores[name.read_text()])
        else:
            store = Store()
        number = str(next(_ids))
        stores[number] = store
        name.write_text(number)
        return cls(directory, store)

    def write(self, batch: Batch) -> None:
        undo: Undo = []
        for family, key, value in batch.operations:
            rows = self.store.families[family]
            if type(value) is RangeEnd:
                for gone in list(rows.irange(key, bytes(value), (True, False))):
                    undo.append((family, gone, rows.pop(gone)))
                continue
            undo.append((family, key, rows.get(key)))
            if value is None:
                rows.pop(key, None)
            else:
                rows[key] = value
        self.store.unsynced.append(undo)

    def get(self, family: Family, key: bytes) -> bytes | None:
        found: bytes | None = self.store.families[family].get(key)
        return found

    def multi_get(self, family: Family, keys: Sequence[bytes]) -> list[bytes | None]:
        return [self.get(family, key) for key in keys]

    def cursor(self, family: Family, start: bytes, end: bytes | None) -> "MemoryCursor":
        rows = self.store.families[family]
        keys = rows.irange(None, end, (True, False))
        cursor = MemoryCursor([(key, rows[key]) for key in keys])
        cursor.seek(start)
        return cursor

    def scan(
        self, family: Family, start: bytes, end: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        rows = self.store.families[family]
        keys = list(rows.irange(start, end, (True, False), reverse))
        return iter([(key, rows[key]) for key in keys])

    def scan_keys(self, family: Family, start: bytes, end: bytes | None) -> Iterator[bytes]:
        return (key for key, _ in self.scan(family, start, end))

    def whole(self, family: Family) -> Iterator[tuple[bytes, bytes]]:
        return self.scan(family, b"", None)

    def last_before(
        self, family: Family, start: bytes, end: bytes | None
    ) -> tuple[bytes, bytes] | None:
        return next(self.scan(family, start, end, reverse=True), None)

    def checkpoint(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        content = {family.value: dict(rows) for family, rows in self.store.families.items()}
        (directory / _DATA).write_bytes(pickle.dumps(content))

    def sync(self) -> None:
        self.store.unsynced.clear()

    def compact(self) -> None:
        """Nothing to rewrite."""

    def size(self) -> int:
        return 1

    def close(self) -> None:
        """Nothing is held."""


class MemoryCursor:
    """`rusd.storage.Cursor` over rows that were copied when it was made."""

    def __init__(self, rows: list[tuple[bytes, bytes]]) -> None:
        self._rows = rows
        self._keys = [key for key, _ in rows]
        self._at, self._step = 0, 1

    def seek(self, start: bytes) -> None:
        self._at, self._step = bisect_left(self._keys, start), 1

    def seek_to_last(self) -> None:
        self._at, self._step = len(self._rows) - 1, -1

    def at_or_before(self, key: bytes) -> tuple[bytes, bytes] | None:
        self._at, self._step = bisect_right(self._keys, key) - 1, -1
        found = self.pairs(1)
        return found[0] if found else None

    def between(self, start: bytes, end: bytes, count: int) -> list[tuple[bytes, bytes]]:
        self.seek(start)
        stop = bisect_left(self._keys, end)
        return self.pairs(min(count, max(stop - self._at, 0)))

    def pairs(self, count: int) -> list[tuple[bytes, bytes]]:
        found: list[tuple[bytes, bytes]] = []
        while len(found) < count and 0 <= self._at < len(self._rows):
            found.append(self._rows[self._at])
            self._at += self._step
        return found

    def keys(self, count: int) -> list[bytes]:
        return [key for key, _ in self.pairs(count)]

    def values(self, count: int) -> list[bytes]:
        return [value for _, value in self.pairs(count)]

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        while pairs := self.pairs(64):
            yield from pairs
