"""The live database directory, and its atomic replacement by a snapshot.

    <root>/CURRENT    one line: the name of the live database directory
    <root>/db-<n>/    the database; a restore makes db-<n+1>

A restore moves the new database beside the old one, fsyncs it, opens it (`prepare`), and only then
replaces CURRENT by rename (`Replacement.commit`). A crash before that rename leaves the old state,
after it the new one. A database that CURRENT does not name is removed at the next start.
"""

import re
import shutil
from pathlib import Path

from rusd.base import durable
from rusd.storage import Engine, StorageError

_NAME = re.compile(r"db-(\d+)")


class DatabaseDirectory:
    """Opens the engine under one root directory, and replaces it on restore."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._pointer = root / "CURRENT"
        self._number = 1

    def open(self) -> Engine:
        """Open the live engine, or create it at the first start. Raises StorageError if CURRENT is
        malformed.
        """
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._number = self._live_number()
        for number, path in self._databases():
            if number != self._number:
                shutil.rmtree(path)
        engine = Engine.open(self._path(self._number))
        try:
            if not self._pointer.exists():
                self._point_at(self._number)
        except BaseException:
            engine.close()
            raise
        return engine

    def prepare(self, live: Engine, checkpoint: Path) -> "Replacement":
        """Move the directory `checkpoint` beside the live database, fsync its files and names, and
        open it. Raises StorageError or OSError if it cannot; `live` stays the live database.
        """
        number = self._number + 1
        path = self._path(number)
        if path.exists():
            # Left by an earlier attempt. (What `move` finds there it would move *into*.)
            shutil.rmtree(path)
        try:
            # Also across file systems, where it is a copy; the pointer decides what counts.
            shutil.move(checkpoint, path)
            durable.sync_tree(path)
            durable.sync(self._root)
            engine = Engine.open(path)
        except (StorageError, OSError):
            shutil.rmtree(path, ignore_errors=True)
            raise
        return Replacement(self, number, engine, live)

    def make_live(self, number: int) -> None:
        """Name database `number` in CURRENT; durable when this returns."""
        self._point_at(number)
        self._number = number

    def _path(self, number: int) -> Path:
        return self._root / f"db-{number}"

    def _databases(self) -> list[tuple[int, Path]]:
        found = [(_NAME.fullmatch(path.name), path) for path in self._root.iterdir()]
        return [(int(match[1]), path) for match, path in found if match]

    def _live_number(self) -> int:
        if self._pointer.exists():
            match = _NAME.fullmatch(self._pointer.read_text().strip())
            if match is None or not self._path(int(match[1])).is_dir():
                raise StorageError(f"{self._pointer} names no database directory")
            return int(match[1])
        databases = self._databases()
        if len(databases) > 1:
            # Guessing which one holds the acknowledged writes could lose them.
            raise StorageError(f"{self._root} has several databases but no CURRENT")
        # One without a pointer: the very first start ended before it wrote the pointer.
        return databases[0][0] if databases else 1

    def _point_at(self, number: int) -> None:
        durable.write(self._pointer, f"db-{number}\n".encode())


class Replacement:
    """A database ready to replace the live one. The methods do I/O, and may run in a thread, one at
    a time; each is called at most once.
    """

    def __init__(
        self, directory: DatabaseDirectory, number: int, engine: Engine, replaced: Engine
    ) -> None:
        self._directory = directory
        self._number = number
        self._replaced = replaced
        self.engine = engine

    def commit(self) -> None:
        """Let the next start open this database. Durable on return."""
        self._directory.make_live(self._number)

    def discard(self) -> None:
        """Remove this uncommitted database."""
        _remove(self.engine)

    def release(self) -> None:
        """Close and remove the replaced database."""
        # A read that is still under way keeps the old database open, which may then be removing
        # files itself. What is left is removed at the next start.
        _remove(self._replaced)


def _remove(engine: Engine) -> None:
    engine.close()
    shutil.rmtree(engine.directory, ignore_errors=True)
