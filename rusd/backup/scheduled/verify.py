"""Verify a backup as it lies on disk: its SHA-256, and its structure as `bbolt check` looks at it.

A process of its own, as for writing the file: FILE is its argument, the revision and the index of
the last entry its output. Exit code 1, and the reason on standard error, if the file is not sound.
"""

import sys
from pathlib import Path
from typing import NamedTuple

from rusd.backup import etcd_records as etcd
from rusd.backup import in_process
from rusd.backup.errors import SnapshotError
from rusd.backup.snapshot_check import applied, mapped, open_snapshot
from rusd.bbolt import BboltError, Database, check
from rusd.mvcc.revision import REVISION_SIZE, parse_revision_key
from rusd.raft.ports import Position


def main() -> int:
    """Run the command; return its exit code."""
    in_process.become()
    try:
        found = verified(Path(sys.argv[1]))
        print(found.revision, found.applied.index)
    except (SnapshotError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


class Verified(NamedTuple):
    """What a sound file contains."""

    revision: int
    #: Position of the last entry of Raft's log.
    applied: Position


def verified(path: Path) -> Verified:
    """Return what a sound file contains. Raises SnapshotError, OSError."""
    try:
        database = open_snapshot(mapped(path))
        check(database)
        return Verified(_revision(database), applied(database))
    except BboltError as error:
        raise SnapshotError(f"damaged: {error}") from error


def _revision(database: Database) -> int:
    """Return the newest revision: of a row, or of a compaction."""
    keys, meta = database.bucket(etcd.KEY), database.bucket(etcd.META)
    if keys is None or meta is None:
        raise SnapshotError("no database of etcd: it has no bucket of keys")
    newest = 1
    for row, _, _ in keys.items():
        newest = max(newest, _main(row))
    marks = (meta.get(name) for name in (etcd.SCHEDULED_COMPACTION, etcd.FINISHED_COMPACTION))
    return max([newest, *(_main(mark) for mark in marks if mark is not None)])


def _main(row: bytes) -> int:
    if len(row) not in (REVISION_SIZE, REVISION_SIZE + 1):
        raise SnapshotError(f"damaged: {row!r} is no revision")
    return parse_revision_key(row)[0]
