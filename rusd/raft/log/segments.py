"""The journal's files: numbered segments of reserved space, appended to and fdatasynced.

    <directory>/LOCK                    held while open; seed of the checksums, mark
    <directory>/0000000000000001.wal …

Only the last segment is written to. Space is reserved ahead (fallocate), so that an fdatasync need
not also make a new file size durable.

The mark is the number of the last segment that holds records. It is made durable behind the first
flush into a segment, before anything relies on that flush. A last segment that is missing or empty
although the mark names it was lost; one beyond the mark was only just begun. Earlier releases
neither write nor read the mark: a journal of theirs has none, and gets one with its next flush.
"""

import fcntl
import os
import re
import struct
import time
import zlib
from contextlib import ExitStack
from pathlib import Path

from rusd.base import durable
from rusd.base.distribution import FINE_DISK_SECONDS, Distribution
from rusd.raft.log.records import written

#: Random bytes, and the checksum that tells a damaged seed from a damaged journal.
_RANDOM_BYTES = 12
_SALT_BYTES = _RANDOM_BYTES + 4
#: Number of a segment, and its checksum.
_MARK = struct.Struct("<QI")
#: Where the mark lies in the lock file: in another block than the seed, so that a torn write of the
#: one cannot damage the other.
_MARK_AT = 4096
_NAME = re.compile(r"([0-9a-f]{16})\.wal")


class JournalError(Exception):
    """The journal cannot be used."""


class JournalLocked(JournalError):
    """Another process has the journal open."""


class JournalCorrupt(JournalError):
    """Bytes that were durable are damaged or missing; the message names the file."""


class Segments:
    """The directory of one journal, locked while open."""

    def __init__(self, directory: Path, size: int, fsync: bool) -> None:
        """`size`: bytes reserved for a segment.

        `fsync` False: nothing is made durable (`--unsafe-no-fsync`).
        """
        self._directory = directory
        self._size = size
        self._fsync = fsync
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._opened = ExitStack()
        self._file: int | None = None
        self._offset = 0
        self.fsync_seconds = Distribution(FINE_DISK_SECONDS)
        self.write_seconds = Distribution(FINE_DISK_SECONDS)
        self.written_bytes = 0
        try:
            self._lock = self._open(directory / "LOCK", os.O_RDWR | os.O_CREAT)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise JournalLocked(f"{directory} is in use by another process") from error
            #: Open for good: the next segment, in place of the last, then needs no further
            #: descriptor, however few there are.
            self._names = self._open(directory, os.O_RDONLY)
            self.numbers = self._listed()
            #: What all checksums of this journal start from.
            self.seed = self._seed()
            #: The last segment that is known to hold records; 0: none is.
            self.marked = self._mark()
            # (One before the first was removed by an earlier release, which leaves the mark.)
            if self.marked > (self.numbers[-1] if self.numbers else 0):
                raise JournalCorrupt(f"segment {self.path(self.marked)} is missing")
        except BaseException:
            self.close()
            raise

    def _open(self, path: Path, flags: int) -> int:
        descriptor = os.open(path, flags, 0o600)
        self._opened.callback(os.close, descriptor)
        return descriptor

    def _listed(self) -> list[int]:
        found = sorted(
            int(match.group(1), 16)
            for path in self._directory.iterdir()
            if (match := _NAME.fullmatch(path.name))
        )
        if found and found != list(range(found[0], found[-1] + 1)):
            missing = next(n for n in range(found[0], found[-1]) if n not in found)
            raise JournalCorrupt(f"segment {self.path(missing)} is missing")
        return found

    def _seed(self) -> int:
        """Return the random seed of the journal, created with it and kept in the lock file."""
        salt = os.pread(self._lock, _SALT_BYTES, 0)
        if len(salt) < _SALT_BYTES or salt != _checked(salt[:_RANDOM_BYTES]):
            if any(written(self.read(number)) for number in self.numbers):
                raise JournalCorrupt(f"{self._directory / 'LOCK'} lost the seed of the checksums")
            salt = _checked(os.urandom(_RANDOM_BYTES))
            os.pwrite(self._lock, salt, 0)
            if self._fsync:
                os.fsync(self._lock)
        return zlib.crc32(salt)

    def _mark(self) -> int:
        behind = os.pread(self._lock, _MARK_AT + _MARK.size - _SALT_BYTES, _SALT_BYTES)
        if not behind:
            return 0
        gap, mark = behind[: _MARK_AT - _SALT_BYTES], behind[_MARK_AT - _SALT_BYTES :]
        if gap.strip(b"\0") or len(mark) < _MARK.size:
            raise JournalCorrupt(f"{self._directory / 'LOCK'} is damaged behind the seed")
        number, checksum = _MARK.unpack(mark)
        return int(number) if checksum == self._checksum(number) else 0

    def _set_mark(self) -> None:
        number = self.numbers[-1]
        os.pwrite(self._lock, _MARK.pack(number, self._checksum(number)), _MARK_AT)
        if self._fsync:
            os.fdatasync(self._lock)
        self.marked = number

    def _checksum(self, number: int) -> int:
        return zlib.crc32(number.to_bytes(8, "little"), self.seed)

    def path(self, number: int) -> Path:
        """Return the file of a segment by its number."""
        return self._directory / f"{number:016x}.wal"

    def read(self, number: int) -> bytes:
        """All bytes.

        JournalCorrupt if it is shorter than a segment that was written to can be: its space is
        reserved, durably, before anything else.
        """
        data = self.path(number).read_bytes()
        if len(data) < self._size and written(data):
            raise JournalCorrupt(
                f"{self.path(number)} was truncated: {len(data)} bytes of {self._size}"
            )
        return data

    def resume(self, offset: int) -> None:
        """Append to the last segment from `offset` on; later bytes are zeroed."""
        path = self.path(self.numbers[-1])
        self._file = os.open(path, os.O_RDWR)
        self._offset = offset
        # (Not cut off and reserved anew: a crash in between would leave it short.)
        rest = written(path.read_bytes()) - offset
        if rest > 0:
            os.pwrite(self._file, bytes(rest), offset)
        self._reserve()
        os.fsync(self._file)

    def create(self) -> None:
        """Begin a new segment."""
        number = self.numbers[-1] + 1 if self.numbers else 1
        if not self.numbers and self._fsync:
            durable.sync_parents(self._directory)
        self._close_file()
        self._file = os.open(self.path(number), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        self._offset = 0
        self._reserve()
        if self._fsync:
            os.fsync(self._file)
            os.fsync(self._names)
        self.numbers.append(number)

    def _reserve(self) -> None:
        assert self._file is not None
        try:
            os.posix_fallocate(self._file, 0, max(self._size, self._offset + 1))
        except OSError as error:
            error.filename = str(self._directory)
            raise

    def append(self, data: bytes) -> None:
        """Write `data` and make it durable.

        An OSError leaves its durability unknown: the process must end (a failed fdatasync may not
        be retried).
        """
        assert self._file is not None
        written = 0
        began = time.perf_counter()
        try:
            while written < len(data):
                written += os.pwrite(self._file, data[written:], self._offset + written)
            synced = time.perf_counter()
            self.write_seconds.observe(synced - began)
            if self._fsync:
                os.fdatasync(self._file)
                self.fsync_seconds.observe(time.perf_counter() - synced)
            if self.marked != self.numbers[-1]:
                self._set_mark()
        except OSError as error:
            error.filename = str(self.path(self.numbers[-1]))
            raise
        self._offset += len(data)
        self.written_bytes += len(data)

    @property
    def full(self) -> bool:
        """True once the last segment holds its reserved size."""
        return self._offset >= self._size

    def remove(self, number: int) -> None:
        """Remove the first segment."""
        assert self.numbers[0] == number and len(self.numbers) > 1
        self.path(number).unlink()
        del self.numbers[0]

    def _close_file(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def close(self) -> None:
        """Release the directory. Idempotent."""
        self._close_file()
        self._opened.close()


def _checked(random: bytes) -> bytes:
    return random + zlib.crc32(random).to_bytes(4, "big")
