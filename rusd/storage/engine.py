"""One open RocksDB database."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rocksdict import Checkpoint, Rdict, WriteBatch, WriteOptions

from rusd.storage.batch import Batch
from rusd.storage.errors import StorageError, StorageLocked
from rusd.storage.family import Family
from rusd.storage.options import database_options, family_options


class Engine:
    """Reads, atomic writes, checkpoints. Not thread-safe by contract: the event loop owns it,
    but `checkpoint` and `compact` may run in a thread beside reads and writes."""

    def __init__(self, directory: Path, database: Rdict) -> None:
        """Use `Engine.open`."""
        self.directory = directory
        self._database = database
        # Typed Any: in raw mode every key and value is bytes, which rocksdict's stubs cannot say.
        self._readers: dict[Family, Any] = {
            family: database.get_column_family(family.value) for family in Family
        }
        self._handles = {
            family: database.get_column_family_handle(family.value) for family in Family
        }
        self._unsynced = WriteOptions()

    @classmethod
    def open(cls, directory: Path) -> "Engine":
        """Open or create the database in `directory`.

        Raises StorageLocked when it is open elsewhere, StorageError when it is damaged.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            database = Rdict(str(directory), database_options(), column_families=family_options())
        except Exception as error:
            text = str(error)
            if "lock" in text.lower():
                raise StorageLocked(f"{directory} is in use by another process: {text}") from error
            raise StorageError(f"cannot open the database in {directory}: {text}") from error
        return cls(directory, database)

    def write(self, batch: Batch) -> None:
        """Apply `batch` atomically. Not synced (see the package docstring)."""
        group = WriteBatch(raw_mode=True)
        handles = self._handles
        put, delete = group.put, group.delete
        for family, key, value in batch.operations:
            if value is None:
                delete(key, handles[family])
            else:
                put(key, value, handles[family])
        try:
            self._database.write(group, self._unsynced)
        except Exception as error:
            raise StorageError(f"cannot write to {self.directory}: {error}") from error

    def get(self, family: Family, key: bytes) -> bytes | None:
        value: bytes | None = self._readers[family].get(key)
        return value

    def multi_get(self, family: Family, keys: Sequence[bytes]) -> list[bytes | None]:
        """Values of `keys`, in their order; None where there is none."""
        if not keys:
            return []
        values: list[bytes | None] = self._readers[family].get(list(keys))
        return values

    def scan(
        self, family: Family, start: bytes, end: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Pairs of [start, end) in key order (or reverse); `end` None means to the last.

        The iterator sees the database as it was when `scan` was called, whatever is written
        meanwhile (a RocksDB iterator is a snapshot).
        """
        if reverse:
            return self._scan_back(family, start, end)
        pairs = self._readers[family].items(from_key=start)
        return pairs if end is None else _pairs_until(pairs, end)

    def _scan_back(
        self, family: Family, start: bytes, end: bytes | None
    ) -> Iterator[tuple[bytes, bytes]]:
        reader = self._readers[family]
        pairs = (
            reader.items(backwards=True)
            if end is None
            else reader.items(backwards=True, from_key=end)
        )
        for pair in pairs:
            if pair[0] < start:
                return
            if end is None or pair[0] < end:
                yield pair

    def scan_keys(self, family: Family, start: bytes, end: bytes | None) -> Iterator[bytes]:
        """Keys of [start, end), without reading values; a snapshot as `scan` is."""
        keys = self._readers[family].keys(from_key=start)
        return keys if end is None else _keys_until(keys, end)

    def last_before(
        self, family: Family, start: bytes, end: bytes | None
    ) -> tuple[bytes, bytes] | None:
        """The last pair of [start, end)."""
        return next(self.scan(family, start, end, reverse=True), None)

    def checkpoint(self, directory: Path) -> None:
        """A consistent copy in the new directory `directory`, by hard links where possible."""
        try:
            Checkpoint(self._database).create_checkpoint(str(directory))
        except Exception as error:
            raise StorageError(f"cannot write a checkpoint to {directory}: {error}") from error

    def sync(self) -> None:
        """Make everything written so far durable."""
        try:
            self._database.flush_wal(True)
        except Exception as error:
            raise StorageError(f"cannot sync {self.directory}: {error}") from error

    def compact(self) -> None:
        """Rewrite all tables without what was deleted (etcd's defragmentation). Long: run it in
        a thread; reads and writes go on meanwhile."""
        for family in Family:
            reader = self._readers[family]
            reader.flush()
            reader.compact_range(None, None)

    def size(self) -> int:
        """Bytes allocated for the data, on disk and in memtables; never 0."""
        return self._sum("rocksdb.total-sst-files-size") + self._memory()

    def size_in_use(self) -> int:
        """Bytes of `size` that hold live data; never 0."""
        return min(self.size(), self._sum("rocksdb.estimate-live-data-size") + self._memory())

    def _memory(self) -> int:
        return max(1, self._sum("rocksdb.cur-size-all-mem-tables"))

    def _sum(self, name: str) -> int:
        return sum(reader.property_int_value(name) or 0 for reader in self._readers.values())

    def close(self) -> None:
        """Release the directory. Iterators must be gone by now."""
        self._readers.clear()
        self._handles.clear()
        self._database.close()


# A bound checked here costs less than RocksDB's own, which is set up anew for each iterator.


def _pairs_until(pairs: Iterator[tuple[bytes, bytes]], end: bytes) -> Iterator[tuple[bytes, bytes]]:
    for pair in pairs:
        if pair[0] >= end:
            return
        yield pair


def _keys_until(keys: Iterator[bytes], end: bytes) -> Iterator[bytes]:
    for key in keys:
        if key >= end:
            return
        yield key
