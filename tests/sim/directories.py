"""Directories of schedules, on a file system in memory, named by the process that they belong to.

A schedule removes its own when it ends. What a process leaves behind that is killed is removed by
the next one that runs a schedule; `remove_at_sigterm` does it at once.
"""

import functools
import multiprocessing
import os
import shutil
import signal
import tempfile
from pathlib import Path
from types import FrameType

_PREFIX = "rusd-sim-"
_MEMORY = Path("/dev/shm")


def make() -> Path:
    """Create the directory of a schedule."""
    _sweep_once()
    return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=parent()))


def sweep() -> None:
    """Remove the directories of processes that are gone."""
    for path in parent().glob(f"{_PREFIX}*-*"):
        process = path.name.removeprefix(_PREFIX).partition("-")[0]
        if process.isdecimal() and not _runs(int(process)):
            shutil.rmtree(path, ignore_errors=True)


def remove_at_sigterm() -> None:
    """End this process and its children at SIGTERM, and leave none of their directories."""
    signal.signal(signal.SIGTERM, _end)


_sweep_once = functools.cache(sweep)


def parent() -> Path:
    """Return where the directories are: in memory if the machine has such a file system."""
    return _MEMORY if _MEMORY.is_dir() else Path(tempfile.gettempdir())


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _end(number: int, frame: FrameType | None) -> None:
    children = multiprocessing.active_children()
    for child in children:
        child.terminate()
    for child in children:
        child.join()
    sweep()
    for path in parent().glob(f"{_PREFIX}{os.getpid()}-*"):
        shutil.rmtree(path, ignore_errors=True)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
