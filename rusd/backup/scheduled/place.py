"""Where backups are kept: the port, and a directory as its first implementation."""

import os
import stat
from pathlib import Path
from typing import Protocol

from rusd.backup.scheduled.schedule import Entry
from rusd.base import durable

PRIVATE = 0o700


class Place(Protocol):
    """Holds files by name. Every method does I/O and raises OSError."""

    @property
    def drafts(self) -> Path:
        """The directory in which a file is written before `put`."""

    def prepare(self) -> None:
        """Make what is needed to write a draft."""

    def entries(self, prefix: str) -> list[Entry]:
        """Return the files of the place whose names begin so: there may be millions of others."""

    def put(self, draft: Path, name: str) -> None:
        """Move a finished and synced draft to its name: durable, or without effect."""

    def abandon(self) -> None:
        """Make a `put` that runs fail soon; called by another thread when the member stops."""

    def delete(self, name: str) -> None:
        """Remove a file, if it is there."""

    def shown(self, name: str) -> str:
        """Return what a log calls a file."""


class Directory:
    """A directory, of this member alone or shared by all."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def drafts(self) -> Path:
        return self._path

    def prepare(self) -> None:
        if not self._path.is_dir():
            self._path.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
            durable.sync_parents(self._path.absolute())

    def entries(self, prefix: str) -> list[Entry]:
        try:
            with os.scandir(self._path) as entries:
                mine = (each for each in entries if each.name.startswith(prefix))
                found = [(each.name, _status(each)) for each in mine]
        except FileNotFoundError:
            return []
        return [
            Entry(name, status.st_size, status.st_mtime)
            for name, status in found
            if status is not None and stat.S_ISREG(status.st_mode)
        ]

    def put(self, draft: Path, name: str) -> None:
        draft.replace(self._path / name)
        durable.sync(self._path)

    def abandon(self) -> None:
        """A rename takes no time."""

    def delete(self, name: str) -> None:
        (self._path / name).unlink(missing_ok=True)

    def shown(self, name: str) -> str:
        return str(self._path / name)


def _status(entry: "os.DirEntry[str]") -> os.stat_result | None:
    try:
        return entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None  # another member removed it
