"""Storage: ordered byte strings on RocksDB; the only room that imports rocksdict.

Files:
    engine    one open database: reads, atomic writes, checkpoints, sync
    family    the families (RocksDB column families) of a member's state
    batch     an atomic group of writes
    cursor    ordered reading of a family in bounded parts
    options   RocksDB settings
    errors    StorageError, StorageLocked

Data passes: a room above fills a `Batch` and calls `Engine.write`; it reads by `get`, `multi_get`
or a `Cursor`.

Guarantees:

- A `Batch` is written whole or not at all, across families, also through kill -9: all families
  share one write-ahead log. `Engine.write` passes it to the operating system without fsync. A power
  failure may lose the newest writes, never earlier ones (point-in-time recovery). Raft's journal,
  which is fsynced, replays them, so no write here waits for the disk.
- `Engine.sync` makes every write so far durable.
- One process at a time has a directory open (`StorageLocked`). Damage found at opening or reading
  is a `StorageError` that names the directory, never a wrong result.

The room knows no keys, revisions or etcd: bytes in, bytes out.
"""

from rusd.storage.batch import Batch, Operation, RangeEnd
from rusd.storage.cursor import Cursor
from rusd.storage.engine import Engine
from rusd.storage.errors import StorageError, StorageLocked
from rusd.storage.family import Family

__all__ = [
    "Batch",
    "Cursor",
    "Engine",
    "Family",
    "Operation",
    "RangeEnd",
    "StorageError",
    "StorageLocked",
]
