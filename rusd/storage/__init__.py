"""Storage: RocksDB behind a small interface; the only room that imports rocksdict.

What it is for: ordered byte strings in a few *families* (RocksDB column families), atomic batches,
iterators, checkpoints. What it promises:

- A `Batch` is written whole or not at all, across families, also through kill -9: all families
  share one write-ahead log. `Engine.write` hands it to the operating system without syncing; power
  loss may take the newest writes, never the middle of history (point-in-time recovery). Raft's own
  journal, which is synced, replays what is missing, so no write needs to wait for the disk here.
- `Engine.sync` makes everything written so far durable.
- A directory is open in one process at a time (`StorageLocked`), and damage found at opening or
  reading is a `StorageError` that names the directory, never a wrong answer.

It knows nothing of keys, revisions or etcd: bytes in, bytes out.
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
