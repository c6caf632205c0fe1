"""Free space of a file system."""

import os
from collections.abc import Iterable
from pathlib import Path


def free(path: Path) -> int:
    """Return the free bytes on the file system of `path`, or of its nearest existing parent."""
    while not path.exists() and path != path.parent:
        path = path.parent
    found = os.statvfs(path)
    if found.f_files and not found.f_favail:
        return 0  # out of inodes
    return found.f_bavail * found.f_frsize


def on_disk_of(path: Path, others: Iterable[Path]) -> bool:
    """Return whether `path` lies on the file system of one of `others`. Raises OSError."""
    device = path.stat().st_dev
    return any(other.stat().st_dev == device for other in others)
