"""A small disk of its own for a member: a tmpfs that can be filled and emptied."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self


class SmallDisk:
    """Mounted on entry, gone on exit. Needs the right to mount."""

    def __init__(self, path: Path, megabytes: int) -> None:
        self.path = path
        self._size = megabytes
        self._ballast = path / "ballast"

    def __enter__(self) -> Self:
        self.path.mkdir()
        options = f"size={self._size}m"
        command = ["mount", "-t", "tmpfs", "-o", options, "rusd-test", str(self.path)]
        subprocess.run(command, check=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        subprocess.run(["umount", "--lazy", str(self.path)], check=True)

    def fill(self, leaving: int = 0) -> None:
        """Take all space but `leaving` bytes."""
        with self._ballast.open("ab", buffering=0) as file:
            try:
                while (room := self._free() - leaving) > 0:
                    file.write(bytes(min(room, 1 << 20)))
            except OSError:
                pass  # no space left on device: that is what was wanted

    def empty(self) -> None:
        self._ballast.unlink()

    def _free(self) -> int:
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize
