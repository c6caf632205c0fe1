"""Small disks for members: they can be filled, and made slow to sync.

A disk is an ext4 file system in a file, mounted over a loop device, which needs root. A full disk
holds a ballast file. A slow disk is frozen (fsfreeze) repeatedly for short times: all I/O blocks,
as on a device whose cache is full.

Directories of disks contain the process id of the run. The next run unmounts and removes the disks
of a killed run.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

#: Bytes of a disk. Both rusd and etcd reserve space ahead (etcd: two segments of 64 MiB).
SIZE = 512 << 20

_DIRECTORY = re.compile(r"rusd-disks-(\d+)-")


class Disk:
    """A small disk, mounted at `path` from construction to `close`."""

    def __init__(self, path: Path, size: int = SIZE) -> None:
        self.path = path
        self._image = path.with_suffix(".img")
        self._ballast = path / "ballast"
        self._thawing: threading.Event | None = None
        self._freezer: threading.Thread | None = None
        path.mkdir(parents=True)
        with self._image.open("wb") as file:
            file.truncate(size)
        _run("mkfs.ext4", "-q", "-F", "-m", "0", str(self._image))
        _run("mount", "-o", "loop", str(self._image), str(path))

    def fill(self) -> None:
        """Allocate all free space."""
        with self._ballast.open("wb") as file:
            found = os.statvfs(self.path)
            size = found.f_bavail * found.f_frsize
            while size >= found.f_frsize:
                try:
                    os.posix_fallocate(file.fileno(), 0, file.seek(0, os.SEEK_END) + size)
                except OSError:
                    size //= 2  # the file system's metadata needs space as well

    def free(self) -> None:
        """Free the space that `fill` allocated."""
        self._ballast.unlink(missing_ok=True)

    def slow(self, stop: float) -> None:
        """Freeze the disk for `stop` seconds, run it for as long, and repeat until `fast`."""
        self._thawing = threading.Event()
        self._freezer = threading.Thread(
            target=self._freeze, args=(stop, self._thawing), daemon=True
        )
        self._freezer.start()

    def fast(self) -> None:
        """End `slow`."""
        if self._thawing is not None and self._freezer is not None:
            self._thawing.set()
            self._freezer.join()
            self._thawing = self._freezer = None

    def close(self) -> None:
        """Unmount; no process may use the disk any more."""
        self.fast()
        with contextlib.suppress(OSError):
            _run("umount", "--lazy", str(self.path))
        self._image.unlink(missing_ok=True)

    def _freeze(self, stop: float, thawing: threading.Event) -> None:
        while not thawing.is_set():
            with contextlib.suppress(OSError):
                _run("fsfreeze", "--freeze", str(self.path))
            try:
                thawing.wait(stop)
            finally:
                with contextlib.suppress(OSError):
                    _run("fsfreeze", "--unfreeze", str(self.path))
            thawing.wait(stop)


def new_directory() -> Path:
    """Make a directory for the disks of this run."""
    remove_left_behind()
    return Path(tempfile.mkdtemp(prefix=f"rusd-disks-{os.getpid()}-"))


def remove_left_behind() -> None:
    """Unmount and remove disks of killed runs."""
    for directory in Path(tempfile.gettempdir()).iterdir():
        made = _DIRECTORY.match(directory.name)
        if made and not Path(f"/proc/{made[1]}").exists():
            for path in directory.iterdir():
                if path.is_mount():
                    with contextlib.suppress(OSError):  # it need not be frozen
                        _run("fsfreeze", "--unfreeze", str(path))
                    with contextlib.suppress(OSError):
                        _run("umount", "--lazy", str(path))
            shutil.rmtree(directory, ignore_errors=True)


def available(directory: Path) -> bool:
    """Return whether such disks can be made on this machine."""
    if os.geteuid() != 0:
        return False
    try:
        disk = Disk(directory / "probe", 16 << 20)
    except OSError:
        return False
    disk.close()
    with contextlib.suppress(OSError):
        (directory / "probe").rmdir()
    return True


def _run(*words: str) -> None:
    try:
        done = subprocess.run(words, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise OSError(f"{words[0]} is missing") from error
    if done.returncode:
        raise OSError(f"{' '.join(words)}: {done.stderr.strip()}")
