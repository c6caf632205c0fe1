"""Write etcd's database file from a checkpoint: python -m rusd.backup CHECKPOINT FILE RESERVE.

FILE may be an earlier file of the same member: what has not changed of it stays as it is.

A process of its own, since encoding a large store would take the interpreter lock from the member.
It begins when the first line arrives on its standard input, and ends with its parent, which holds
the other end of that. Each line of its output says how many bytes are written, and how many the
whole file has. Exit code 1, and the reason on standard error, if the file could not be written, or
if the disk would have less than RESERVE free bytes left: the member needs them for its log and its
database.
"""

import errno
import gc
import os
import sys
from pathlib import Path

from rusd.backup import export, in_process, kept_pages
from rusd.base.free_space import free
from rusd.storage import Engine, StorageError


def main() -> int:
    """Run the command; return its exit code."""
    # (Nothing here refers to itself.)
    gc.disable()
    parent = in_process.become()
    checkpoint, file, reserve = sys.argv[1:]
    parent.wait_for_word()
    try:
        _write(Engine.open(Path(checkpoint), read_only=True), Path(file), int(reserve))
    except (StorageError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    # (Closing the database and the interpreter takes 0.1 s of a processor that the client needs.)
    os._exit(0)


def _write(engine: Engine, file: Path, reserve: int) -> None:
    earlier = kept_pages.find(engine, file) if file.exists() else None
    if earlier is None and file.exists():
        # (Its room is needed at once, though it is mapped.)
        os.truncate(file, 0)
        # (ext4 would write a truncated file to the disk as soon as it is closed.)
        file.unlink()
    # (0o600: the file holds every key, and the hashes of the passwords.)
    with open(os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600), "r+b") as out:
        export.write(engine, out, _Progress(file, reserve), earlier)


class _Progress:
    def __init__(self, file: Path, reserve: int) -> None:
        self._file = file
        self._reserve = reserve

    def __call__(self, written: int, whole: int) -> None:
        """Tell the parent. Raises OSError if the disk has too little room for the rest."""
        if free(self._file) < self._reserve + whole - written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        print(written, whole, flush=True)


if __name__ == "__main__":
    sys.exit(main())
