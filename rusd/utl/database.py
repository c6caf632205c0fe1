"""Facts about a database file of etcd."""

import tempfile
from pathlib import Path
from typing import NamedTuple

import google_crc32c

from rusd.backup import etcd_records as etcd
from rusd.backup.errors import SnapshotError
from rusd.backup.restore import restore
from rusd.base import sliced
from rusd.bbolt import BboltError, Database, check
from rusd.mvcc.hash import HashResult
from rusd.mvcc.revision import REVISION_SIZE, parse_revision_key
from rusd.mvcc.store import Store
from rusd.storage import Engine
from rusd.wire.keyvalue import key_of


class Status(NamedTuple):
    """What `snapshot status` shows."""

    #: CRC-32C of all buckets, as etcdutl computes it.
    hash: int
    #: The newest revision.
    revision: int
    #: Keys that are live at that revision.
    total_key: int
    #: Bytes of the database.
    total_size: int
    #: Of the storage; empty for a file of etcd 3.5.
    version: str


def status(database: Database) -> Status:
    """Return the facts about a file, after a check of its whole structure. Raises
    SnapshotError.
    """
    try:
        check(database)
        return _status(database)
    except (BboltError, ValueError) as error:
        raise SnapshotError(f"snapshot file integrity check failed: {error}") from error


def _status(database: Database) -> Status:
    crc, revision = 0, 0
    live: set[bytes] = set()
    for name, bucket in database.buckets():
        crc = google_crc32c.extend(crc, name)
        for item in bucket.items():
            crc = google_crc32c.extend(google_crc32c.extend(crc, item.key), item.value)
            if name != etcd.KEY:
                continue
            revision = parse_revision_key(item.key)[0]
            key = key_of(item.value)
            if len(item.key) > REVISION_SIZE:
                live.discard(key)
            else:
                live.add(key)
    meta = database.bucket(etcd.META)
    version = meta.get(etcd.STORAGE_VERSION) if meta is not None else None
    size = database.meta.pages * database.meta.page_size
    return Status(crc, revision, len(live), size, (version or b"").decode())


def hash_kv(database: Database, revision: int, scratch: Path | None = None) -> HashResult:
    """Return the hash of the keys at a revision (0: the newest), as HashKV of a member computes it.

    The keys are restored into a temporary directory (within `scratch`) for it. Raises
    SnapshotError, and the refusals of `Store.hash_kv`.
    """
    with tempfile.TemporaryDirectory(prefix="rusdutl-", dir=scratch) as directory:
        engine = Engine.open(Path(directory) / "db")
        try:
            restore(database, engine)
            return sliced.finish(Store(engine).hash_kv(revision))
        finally:
            engine.close()
