"""A log file that is renamed when it is full, as etcd's `--enable-log-rotation` does.

`etcd.log` becomes `etcd-2026-01-31T12-30-59.123.log` in the same directory, and lines go on in a
new `etcd.log`. Old files are compressed and removed by a thread of their own, since the event loop
writes log lines. etcd leaves this to the Go package lumberjack, whose names and rules these are.

Promises: a line is in one file, whole; no failure of the disk reaches the caller. Two processes
must not rotate one file.
"""

import contextlib
import gzip
import logging
import os
import shutil
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, NamedTuple

_MEBIBYTE = 1 << 20
_COMPRESSED = ".gz"
_STAMP = "%Y-%m-%dT%H-%M-%S"


class Rotation(NamedTuple):
    """Size limit of a log file and retention of old ones (`--log-rotation-config-json`)."""

    #: MiB of the file that is written; 0: 100.
    maxsize: int = 100
    #: Days that an old file is kept; 0: for ever.
    maxage: int = 0
    #: Old files that are kept; 0: all.
    maxbackups: int = 0
    #: Whether names of old files have local time instead of UTC.
    localtime: bool = False
    #: Whether old files are compressed by gzip.
    compress: bool = False

    @property
    def max_bytes(self) -> int:
        """Size at which the file is full."""
        return (self.maxsize or 100) * _MEBIBYTE


class RotatingFile(logging.Handler):
    """Writes lines to `path`, and renames it before a line would make it larger than allowed."""

    def __init__(
        self,
        path: Path,
        rotation: Rotation,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Open `path` for appending; its directories are made. Raises OSError if it cannot."""
        super().__init__()
        self._path = path
        self._rotation = rotation
        self._now = now
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file, self._size = _opened(path, 0o600)
        self._old_files = _OldFiles(path, rotation, now)
        self._old_files.tidy()

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; what fails is reported as logging reports it, never raised."""
        try:
            line = f"{self.format(record)}\n".encode(errors="backslashreplace")
            # A single line longer than a whole file gets a file of its own.
            if self._size and self._size + len(line) > self._rotation.max_bytes:
                self._rotate()
            self._file.write(line)
            self._size += len(line)
        except Exception:  # noqa: BLE001
            # What logging asks of a handler: nothing reaches the caller.
            self.handleError(record)

    def close(self) -> None:
        """Close the file and wait for the work on old ones."""
        with contextlib.suppress(OSError):
            self._file.close()
        self._old_files.join()
        super().close()

    def _rotate(self) -> None:
        mode = os.fstat(self._file.fileno()).st_mode & 0o777
        with contextlib.suppress(OSError):  # the lines go on in the file as it is
            self._path.rename(self._old_files.unused_name())
        replaced, self._size = _opened(self._path, mode)
        self._file.close()
        self._file = replaced
        self._old_files.tidy()


def _opened(path: Path, mode: int) -> tuple[BinaryIO, int]:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, mode)
    file = open(descriptor, "ab", buffering=0)  # noqa: SIM115 (closed with the handler)
    return file, os.fstat(descriptor).st_size


class _OldFiles:
    """The renamed files of one log: compressed, and removed when they are too many or too old."""

    def __init__(self, path: Path, rotation: Rotation, now: Callable[[], datetime]) -> None:
        self._path = path
        self._rotation = rotation
        self._now = now
        #: Guards the next two.
        self._lock = threading.Lock()
        self._asked = False
        self._thread: threading.Thread | None = None

    def unused_name(self) -> Path:
        """The name of the file that is renamed now."""
        stamp = self._now().astimezone(None if self._rotation.localtime else UTC)
        while True:
            text = f"{stamp:{_STAMP}}.{stamp.microsecond // 1000:03d}"
            name = self._path.with_name(f"{self._path.stem}-{text}{self._path.suffix}")
            # Two files of one millisecond: the later one takes the next.
            if not name.exists() and not _compressed(name).exists():
                return name
            stamp += timedelta(milliseconds=1)

    def tidy(self) -> None:
        """Compress and remove what is due, in a thread; an earlier one does this work as well."""
        rotation = self._rotation
        if not (rotation.compress or rotation.maxage or rotation.maxbackups):
            return
        with self._lock:
            self._asked = True
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="log-rotation", daemon=True)
                self._thread.start()

    def join(self) -> None:
        """Wait until the work that was asked for is done."""
        thread = self._thread
        if thread is not None:
            thread.join()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._asked:
                    self._thread = None
                    return
                self._asked = False
            with contextlib.suppress(OSError):  # tried again at the next rotation
                self._remove()
                self._compress()

    def _files(self) -> list[tuple[datetime, Path]]:
        """Time and name of each old file, the newest first. Other files are left alone."""
        found = []
        zone = None if self._rotation.localtime else UTC
        for name in self._path.parent.glob(f"{_escaped(self._path.stem)}-*"):
            text = name.name.removeprefix(f"{self._path.stem}-").removesuffix(_COMPRESSED)
            with contextlib.suppress(ValueError):
                suffix = self._path.suffix.replace("%", "%%")
                stamp = datetime.strptime(text, f"{_STAMP}.%f{suffix}")
                found.append((stamp.replace(tzinfo=zone).astimezone(UTC), name))
        return sorted(found, reverse=True)

    def _remove(self) -> None:
        oldest = self._now().astimezone(UTC) - timedelta(days=self._rotation.maxage)
        for place, (stamp, name) in enumerate(self._files()):
            too_many = 0 < self._rotation.maxbackups <= place
            if too_many or (self._rotation.maxage and stamp < oldest):
                name.unlink(missing_ok=True)

    def _compress(self) -> None:
        if not self._rotation.compress:
            return
        for _, name in self._files():
            if name.suffix == _COMPRESSED:
                continue
            part = name.with_name(f"{name.name}.part")
            with name.open("rb") as plain, gzip.open(part, "wb") as packed:
                shutil.copyfileobj(plain, packed)
            part.rename(_compressed(name))
            name.unlink()


def _compressed(name: Path) -> Path:
    return name.with_name(f"{name.name}{_COMPRESSED}")


def _escaped(stem: str) -> str:
    return "".join(f"[{each}]" if each in "[*?" else each for each in stem)
