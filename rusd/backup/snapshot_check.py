"""A file as `snapshot save` makes it: the database, and the SHA-256 of it behind.

A database that was copied from a data directory has no digest. Pages are multiples of 512 bytes,
which tells one from the other (as etcdutl does).
"""

import hashlib
import mmap
import os
import stat
import struct
from pathlib import Path
from typing import Final

from rusd.backup import etcd_records as etcd
from rusd.backup.errors import SnapshotError
from rusd.bbolt import BboltError, Database
from rusd.raft.ports import Position

_DIGEST: Final = 32
_BLOCK: Final = 512
#: Bytes hashed at once.
_PIECE: Final = 4 << 20


def mapped(path: Path) -> memoryview:
    """Return the bytes of a file. Raises SnapshotError for an empty one, and for what is no file;
    OSError.
    """
    # (A pipe in its place would keep the call waiting.)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise SnapshotError(f"{path} is no file")
        # (Not closed: a part of it that is still held keeps it open.)
        return memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))
    except ValueError as error:
        raise SnapshotError(f"{path} is empty") from error
    finally:
        os.close(descriptor)


def open_snapshot(data: memoryview, *, skip_hash_check: bool = False) -> Database:
    """Return the database of a file. Raises SnapshotError: its digest is missing or differs (not
    with `skip_hash_check`), or it is no database.
    """
    has_digest = len(data) % _BLOCK == _DIGEST
    end = len(data) - _DIGEST if has_digest else len(data)
    if not skip_hash_check:
        if not has_digest:
            raise SnapshotError("snapshot missing hash but --skip-hash-check=false")
        digest = hashlib.sha256()
        for start in range(0, end, _PIECE):
            digest.update(data[start : min(start + _PIECE, end)])
        expected = bytes(data[end:])
        if digest.digest() != expected:
            raise SnapshotError(f"expected sha256 {expected.hex()}, got {digest.hexdigest()}")
    try:
        return Database(data[:end])
    except BboltError as error:
        raise SnapshotError(f"no database: {error}") from error


def applied(database: Database) -> Position:
    """Return the position of the last entry that is applied; term 0 if it is not noted.

    Raises SnapshotError.
    """
    try:
        meta = database.bucket(etcd.META)
        index = meta.get(etcd.CONSISTENT_INDEX) if meta is not None else None
        term = meta.get(etcd.TERM) if meta is not None else None
        if index is None:
            raise SnapshotError("the database does not say what it has applied: no etcd of today")
        return Position(etcd.parse_number(index), etcd.parse_number(term) if term else 0)
    except (BboltError, struct.error) as error:
        raise SnapshotError(f"damaged: {error}") from error
