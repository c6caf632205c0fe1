"""Files that survive a power cut: the only place that fsyncs directories and replaces files whole.

fsync of a file makes its content durable, not its name: the directory that holds the name must be
synced as well, and the name of that directory in its parent, and so on. `docs/durability.md` lists
every fsync of a member. Every function raises OSError, and then nothing is known to be durable.
"""

import errno
import os
from pathlib import Path

#: Errors of a directory that this process may not sync, so did not make either.
_FOREIGN = frozenset((errno.EACCES, errno.EPERM, errno.EINVAL, errno.EROFS))


def write(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Replace the file at `path`.

    After a crash it holds either the old content or the new one, after the return the new one.
    `mode`: permissions of the new file, reduced by the umask.
    """
    draft = path.with_suffix(".new")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Fsync a file, or the names in a directory."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(directory: Path) -> None:
    """Fsync every file and directory below `directory`, and the names in it."""
    for path in directory.rglob("*"):
        sync(path)
    sync(directory)


def sync_parents(directory: Path) -> None:
    """Fsync every directory above `directory`, so that its own name is durable.

    Stops at the first one that this process may not sync: it did not create that one.
    """
    for parent in directory.parents:
        try:
            sync(parent)
        except OSError as error:
            if error.errno not in _FOREIGN:
                raise
            return
