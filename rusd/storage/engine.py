"""One open RocksDB database."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice, takewhile
from operator import itemgetter
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

from rocksdict import (
    AccessType,
    Checkpoint,
    IngestExternalFileOptions,
    Rdict,
    ReadOptions,
    SstFileWriter,
    WriteBatch,
    WriteOptions,
)

from rusd.base.distribution import FINE_DISK_SECONDS, Distribution
from rusd.storage.batch import Batch, RangeEnd
from rusd.storage.cursor import STEP, Cursor
from rusd.storage.errors import StorageError, StorageLocked
from rusd.storage.family import Family
from rusd.storage.options import database_options, family_options

T = TypeVar("T")

#: Rows of a whole family that are in memory together, and bytes of one from which on the next one
#: is read alone.
_PART, _LARGE = 32, 64 << 10
#: What RocksDB says of all tables of a family: rows, deletions, bytes of keys and of values.
_TABLES = re.compile(
    r"# entries=(\d+); # deletions=(\d+);.*; raw key size=(\d+);.*; raw value size=(\d+);"
)
#: Bytes that RocksDB adds to each key.
_INTERNAL = 8
#: Numbers of rows that are in no table.
_MEMTABLES = ("rocksdb.num-entries-active-mem-table", "rocksdb.num-entries-imm-mem-tables")


class Engine:
    """Reads, atomic writes, checkpoints.

    Not thread-safe by contract: the event loop owns it, but `checkpoint` and `compact` may run in a
    thread beside reads and writes.
    """

    def __init__(self, directory: Path, database: Rdict) -> None:
        """Use `Engine.open`."""
        self.directory = directory
        #: Called with the error of a read that met damage, before it is raised: the member must
        #: stop serving.
        self.on_damage: Callable[[StorageError], None] = lambda error: None
        self._database = database
        # Typed Any: in raw mode every key and value is bytes, which rocksdict's stubs cannot say.
        self._readers: dict[Family, Any] = {
            family: database.get_column_family(family.value) for family in Family
        }
        self._handles = {
            family: database.get_column_family_handle(family.value) for family in Family
        }
        self._unsynced = WriteOptions()
        #: Of the writes; a member hands it on to the engine that replaces this one.
        self.write_seconds = Distribution(FINE_DISK_SECONDS)

    @classmethod
    def open(cls, directory: Path, *, read_only: bool = False) -> "Engine":
        """Open or create the database in `directory`.

        `read_only`: it exists and is open nowhere. RocksDB then writes and syncs no table, and
        merges none in the background.
        Raises StorageLocked when it is open elsewhere, StorageError when it is damaged.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        current = directory / "CURRENT"
        files = (file for kind in ("*.sst", "*.log") for file in directory.glob(kind))
        if not current.exists() and any(files):
            # RocksDB would create a new database here. (It writes a new one's CURRENT before any of
            # these files.)
            raise StorageError(f"cannot open the database in {directory}: {current} is missing")
        try:
            database = Rdict(
                str(directory),
                database_options(mapped=read_only),
                column_families=family_options(),
                access_type=AccessType.read_only() if read_only else AccessType.read_write(),
            )
        except Exception as error:
            text = " ".join(str(error).split())
            if "While lock file" in text or "lock hold by current process" in text:
                raise StorageLocked(f"{directory} is in use by another process: {text}") from error
            raise StorageError(f"cannot open the database in {directory}: {text}") from error
        return cls(directory, database)

    def write(self, batch: Batch) -> None:
        """Apply `batch` atomically, without fsync (see the package docstring)."""
        group = WriteBatch(raw_mode=True)
        handles = self._handles
        put, delete, intervals = group.put, group.delete, batch.intervals
        operations = batch.in_order_of_size() if batch.large else batch.operations
        for family, key, value in operations:
            if value is None:
                delete(key, handles[family])
            elif intervals and type(value) is RangeEnd:
                group.delete_range(key, bytes(value), handles[family])
            else:
                put(key, value, handles[family])
        began = perf_counter()
        try:
            self._database.write(group, self._unsynced)
        except Exception as error:
            raise StorageError(f"cannot write to {self.directory}: {error}") from error
        self.write_seconds.observe(perf_counter() - began)

    def load(self, family: Family, rows: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Add rows in ascending order of their keys; a value of None deletes.

        They become a table of their own, which needs no log, no memtable and no compaction: a
        fraction of the time that `write` takes for many rows. Durable afterwards; not atomic with
        anything else.
        """
        path = self.directory / "loading"
        writer: Any = SstFileWriter(family_options()[family.value])
        try:
            empty = True
            for key, value in rows:
                if empty:
                    writer.open(str(path))
                    empty = False
                if value is None:
                    del writer[key]
                else:
                    writer[key] = value
            if empty:
                return
            writer.finish()
            options = IngestExternalFileOptions()
            options.set_move_files(True)
            self._readers[family].ingest_external_file([str(path)], options)
        except Exception as error:
            # (rocksdict raises no class of its own: what else there is comes from `rows`.)
            if type(error) is not Exception:
                raise
            raise StorageError(f"cannot write to {self.directory}: {error}") from error
        finally:
            path.unlink(missing_ok=True)

    def get(self, family: Family, key: bytes) -> bytes | None:
        """Returns the value of `key`, or None if absent."""
        try:
            value: bytes | None = self._readers[family].get(key)
        except Exception as error:
            raise self._unreadable(error) from error
        return value

    def multi_get(self, family: Family, keys: Sequence[bytes]) -> list[bytes | None]:
        """Returns the values of `keys` in order; None for an absent key."""
        if not keys:
            return []
        try:
            values: list[bytes | None] = self._readers[family].get(list(keys))
        except Exception as error:
            raise self._unreadable(error) from error
        return values

    def cursor(self, family: Family, start: bytes, end: bytes | None) -> Cursor:
        """Returns the rows of [start, end) in key order as of now; `end` None is unbounded.

        Later writes are not seen.
        """
        cursor = self._cursor(family, end)
        cursor.seek(start)
        return cursor

    def scan(
        self, family: Family, start: bytes, end: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Iterates over the pairs of a cursor, or in reverse order."""
        if not reverse:
            return iter(self.cursor(family, start, end))
        return takewhile(lambda pair: pair[0] >= start, self._backwards(family, end))

    def scan_keys(self, family: Family, start: bytes, end: bytes | None) -> Iterator[bytes]:
        """Iterates over the keys of a cursor, without reading values."""
        return _keys(self.cursor(family, start, end))

    def whole(
        self, family: Family, start: bytes = b"", end: bytes | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """Iterates over the rows of [start, end) of a family that nobody writes to, in a third of
        the time that a cursor takes.
        """
        return chain.from_iterable(self._rows(family, start, end))

    def whole_keys(self, family: Family, start: bytes = b"") -> Iterator[bytes]:
        """Iterates over the keys from `start` on of a family that nobody writes to."""
        read = self._readers[family].keys
        return chain.from_iterable(self._parts(family, read, bytes, bytes, start, None))

    def extent(self, family: Family) -> tuple[int, int]:
        """Returns bounds of a family that nobody writes to: it has so many rows at most, whose keys
        and values have so many bytes at most.

        RocksDB knows them without reading rows; those that are superseded or deleted count until it
        merges them. Where rows were deleted, they are counted.
        """
        reader = self._readers[family]
        try:
            told = _TABLES.search(
                reader.property_value("rocksdb.aggregated-table-properties") or ""
            )
            in_memory = sum(reader.property_int_value(name) or 0 for name in _MEMTABLES)
        except Exception as error:
            raise self._unreadable(error) from error
        if told is not None and not in_memory:
            rows, deleted, keys, values = map(int, told.groups())
            if not deleted:
                return rows, keys - rows * _INTERNAL + values
        return self.count(family)

    def count(
        self, family: Family, start: bytes = b"", end: bytes | None = None
    ) -> tuple[int, int]:
        """Returns the rows of [start, end) of a family that nobody writes to, and the bytes of
        their keys and values.
        """
        rows, size = 0, 0
        for part in self._rows(family, start, end):
            rows += len(part)
            size += sum(map(len, chain.from_iterable(part)))
        return rows, size

    def _rows(
        self, family: Family, start: bytes, end: bytes | None
    ) -> Iterator[list[tuple[bytes, bytes]]]:
        read = self._readers[family].items
        return self._parts(family, read, itemgetter(0), itemgetter(1), start, end)

    def _parts(
        self,
        family: Family,
        read: Callable[..., Iterator[T]],
        key: Callable[[T], bytes],
        longest: Callable[[T], bytes],
        start: bytes,
        end: bytes | None,
    ) -> Iterator[list[T]]:
        """Yield what `read` gives of [start, end), some at a time. `key`, `longest`: of one of
        them, its key and what most of it is.
        """
        options = ReadOptions()
        if end is not None:
            options.set_iterate_upper_bound(end)
        try:
            rows, count = read(from_key=start, read_opt=options), _PART
            while part := list(islice(rows, count)):
                yield part
                start = key(part[-1]) + b"\0"
                count = _PART if len(longest(part[-1])) < _LARGE else 1
        except Exception as error:
            raise self._unreadable(error) from error
        # (These iterators end at damage as if there were no more rows.)
        if self.cursor(family, start, end).pairs(1):
            raise self._unreadable(ValueError("rows were not read"))

    def last_before(
        self, family: Family, start: bytes, end: bytes | None
    ) -> tuple[bytes, bytes] | None:
        """Returns the last pair of [start, end), or None if there is none."""
        found = self._backwards(family, end).pairs(1)
        return found[0] if found and found[0][0] >= start else None

    def _backwards(self, family: Family, end: bytes | None) -> Cursor:
        """The rows before `end` in descending order.

        (rocksdict 0.3.29 takes a lower bound for an upper bound, so none is set.)
        """
        cursor = self._cursor(family, end)
        cursor.seek_to_last()
        return cursor

    def _cursor(self, family: Family, end: bytes | None) -> Cursor:
        options = ReadOptions()
        if end is not None:
            options.set_iterate_upper_bound(end)
        try:
            return Cursor(self._readers[family].iter(options), end, self._unreadable)
        except Exception as error:
            raise self._unreadable(error) from error

    def checkpoint(self, directory: Path) -> None:
        """Write a consistent copy to the new directory `directory`, by hard links where possible.

        In a thread it stops other threads for a few milliseconds only: memtables are flushed first,
        since RocksDB would flush them while rocksdict holds the interpreter lock.
        """
        try:
            for reader in list(self._readers.values()):
                reader.flush()
            Checkpoint(self._database).create_checkpoint(str(directory))
        except Exception as error:
            raise StorageError(f"cannot write a checkpoint to {directory}: {error}") from error

    def sync(self) -> None:
        """Make every write so far durable."""
        try:
            self._database.flush_wal(True)
        except Exception as error:
            raise StorageError(f"cannot sync {self.directory}: {error}") from error

    def compact(self) -> None:
        """Rewrite all tables without deleted rows (etcd's defragmentation).

        Run it in a thread; reads and writes continue meanwhile.
        """
        for family in Family:
            reader = self._readers[family]
            reader.flush()
            reader.compact_range(None, None)

    def size(self) -> int:
        """Bytes allocated for the data, on disk and in memtables; never 0."""
        return self._sum("rocksdb.total-sst-files-size") + self._memory()

    def _memory(self) -> int:
        return max(1, self._sum("rocksdb.cur-size-all-mem-tables"))

    def _sum(self, name: str) -> int:
        return sum(reader.property_int_value(name) or 0 for reader in self._readers.values())

    def _unreadable(self, error: Exception) -> StorageError:
        damage = StorageError(f"cannot read {self.directory}: {' '.join(str(error).split())}")
        self.on_damage(damage)
        return damage

    def close(self) -> None:
        """Release the directory.

        No iterator may exist. Errors of later reads are not reported as damage.
        """
        self.on_damage = lambda error: None
        self._readers.clear()
        self._handles.clear()
        self._database.close()


def _keys(cursor: Cursor) -> Iterator[bytes]:
    while keys := cursor.keys(STEP):
        yield from keys
