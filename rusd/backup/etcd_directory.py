"""The data directory of a stopped etcd member: its database and its log.

etcd writes its database every 100 ms or 10,000 requests, so after a crash the log is ahead of it.
`member/snap/db` says up to which entry it has applied; all entries above are applied to it. Those
above the commit index that the member knew are among them, as if the member became leader: they may
have been acknowledged. (The sole member of a cluster notes a commit index after it acknowledged.)

The directory is only read. A lock on the database keeps etcd away meanwhile.
"""

import contextlib
import fcntl
import mmap
import os
import re
import stat
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Final

from rusd.backup.errors import SnapshotError
from rusd.backup.etcd_requests import proposal_of
from rusd.backup.snapshot_check import applied
from rusd.bbolt import BboltError, Database, check
from rusd.etcd_wal import Log, Segment, WalError, read_log

_SEGMENT: Final = re.compile(r"([0-9a-f]{16})-([0-9a-f]{16})\.wal")
#: A database that the leader sent, which etcd moves into its place at the next start.
_RECEIVED: Final = re.compile(r"([0-9a-f]{16})\.snap\.db")


class EtcdData:
    """An opened data directory."""

    def __init__(self, database: Database, log: Log) -> None:
        self.database = database
        self.log = log

    def proposals(self) -> Iterator[bytes]:
        """Yield what is to be applied to the database. Raises SnapshotError."""
        try:
            for entry in self.log.entries():
                if (proposal := proposal_of(entry)) is not None:
                    yield proposal
        except WalError as error:
            raise _damaged(error) from error


@contextmanager
def open_etcd_directory(directory: Path, wal: Path | None = None) -> Iterator[EtcdData]:
    """Open the data directory of a stopped member; `wal`: its --wal-dir, if it had one.

    Raises SnapshotError: no such directory, in use by etcd, damaged; OSError.
    """
    file = directory / "member" / "snap" / "db"
    if not file.exists():
        raise SnapshotError(_why_none(directory))
    with ExitStack() as stack:
        database = _open_database(stack, file, locked=True)
        try:
            database, log = _with_log(stack, file.parent, wal or file.parents[1] / "wal", database)
        except WalError as error:
            raise _damaged(error) from error
        yield EtcdData(database, log)


def _with_log(stack: ExitStack, snap: Path, wal: Path, database: Database) -> tuple[Database, Log]:
    """Return the database that the log follows, and the log. Raises SnapshotError, WalError."""
    after, _ = applied(database)
    # A state that the leader sent is moved into the place of the database at the next start.
    for index, received in _received(snap, after):
        with contextlib.suppress(WalError):
            log = read_log(_segments(stack, wal, index), index)
            if index in log.snapshots and index <= log.commit:
                database = _open_database(stack, received)
                after, _ = applied(database)
                break
    log = read_log(_segments(stack, wal, after), after)
    _, term = applied(database)
    if term and log.term_after not in (None, term):
        raise WalError(
            f"entry {after} has term {log.term_after} in the log and {term} in the database: they "
            "are not of the same member"
        )
    return database, log


def _why_none(directory: Path) -> str:
    if (directory / "snap" / "db").exists():
        return f"{directory} is the 'member' directory: give the directory that holds it"
    if (directory / "member" / "identity").exists():
        return f"{directory} is the data of a rusd member, not of etcd"
    return f"{directory} is no data directory of etcd: it has no member/snap/db"


def _open_database(stack: ExitStack, file: Path, *, locked: bool = False) -> Database:
    opened = _opened(stack, file)
    if locked:
        try:
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SnapshotError(
                f"{file} is in use: stop etcd before, or take its state while it runs with "
                "--from-endpoint"
            ) from None
    try:
        database = Database(_mapped(opened))
        check(database)
    except BboltError as error:
        raise SnapshotError(f"{file} is damaged: {error}") from error
    return database


def _opened(stack: ExitStack, path: Path) -> int:
    """Open a plain file; return its descriptor. Raises SnapshotError, OSError."""
    # (A pipe in its place would keep the call waiting.)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    stack.callback(os.close, descriptor)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise SnapshotError(f"{path} is no file")
    return descriptor


def _mapped(descriptor: int) -> memoryview:
    try:
        # (Not closed: a part of it that is still held keeps it open.)
        return memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))
    except ValueError:
        return memoryview(b"")


def _received(snap: Path, after: int) -> list[tuple[int, Path]]:
    """Return index and file of every state that was received and not used, the newest first."""
    found = [(int(match[1], 16), path) for path, match in _matching(snap, _RECEIVED)]
    return sorted((one for one in found if one[0] > after), reverse=True)


def _segments(stack: ExitStack, wal: Path, after: int) -> list[Segment]:
    """Map the segments that hold the entries above `after`, and that one if it is still there.

    Raises WalError, OSError.
    """
    names = sorted(
        (int(match[1], 16), int(match[2], 16), path) for path, match in _matching(wal, _SEGMENT)
    )
    starts = [index for _, index, _ in names]
    # (A segment is named by its number, and by the index of its first entry.)
    first = bisect_right(starts, after) or bisect_right(starts, after + 1)
    if not first:
        raise WalError(f"{wal} has no segment with entry {after + 1}")
    chosen = names[first - 1 :]
    for (before, *_), (number, _, path) in pairwise(chosen):
        if number != before + 1:
            raise WalError(f"{path}: the segment before is missing")
    return [Segment(path.name, _mapped(_opened(stack, path))) for _, _, path in chosen]


def _matching(directory: Path, pattern: re.Pattern[str]) -> Iterator[tuple[Path, re.Match[str]]]:
    try:
        names = sorted(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
    for path in names:
        if (match := pattern.fullmatch(path.name)) is not None:
            yield path, match


def _damaged(error: WalError) -> SnapshotError:
    return SnapshotError(
        f"the write-ahead log cannot be applied: {error}. If etcd starts on the directory, take a "
        "snapshot with 'etcdctl snapshot save' and use 'rusdutl snapshot restore'"
    )
