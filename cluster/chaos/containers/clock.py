"""The wall clock of one container, moved by libfaketime while the member runs.

The library is preloaded into the member's program, and reads the offset from a file once a second.
The monotonic clock is left alone, as when an operator or NTP sets the time. A program that asks the
kernel without the C library (Go) does not notice: `works` tells.
"""

from __future__ import annotations

import shutil
from pathlib import Path

#: The directory in the container.
INSIDE = "/clock"

_LIBRARY = "libfaketime.so.1"


class Clock:
    """The wall clock of one container. `directory` is mounted read-only into it."""

    def __init__(self, directory: Path, library: Path) -> None:
        self.directory = directory
        self._offset = directory / "offset"
        directory.mkdir(parents=True)
        directory.chmod(0o755)
        shutil.copy(library, directory / _LIBRARY)
        self.move(0)

    def move(self, seconds: float) -> None:
        """Set the offset of the wall clock."""
        new = self._offset.with_suffix(".new")
        new.write_text(f"{seconds:+g}\n")
        new.chmod(0o644)
        new.replace(self._offset)


def environment() -> dict[str, str]:
    """Return the variables that make a program in a container read its clock."""
    return {
        "LD_PRELOAD": f"{INSIDE}/{_LIBRARY}",
        "FAKETIME_TIMESTAMP_FILE": f"{INSIDE}/offset",
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
        # Otherwise the library lets every wait for a condition by the monotonic clock end at once,
        # and the threads of Python, which wait so for each other, do nothing but take turns.
        "FAKETIME_FORCE_MONOTONIC_FIX": "0",
    }


def library() -> Path | None:
    """Return libfaketime of this machine; None if it is not installed."""
    return next(Path("/usr/lib").glob(f"*/faketime/{_LIBRARY}"), None)


def works(pid: int) -> bool:
    """Return whether a process has loaded the library."""
    return _LIBRARY in Path(f"/proc/{pid}/maps").read_text()
