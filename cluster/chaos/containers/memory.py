"""Takes the memory that a container's limit leaves, until the kernel kills the member.

A process of this machine joins the memory cgroup of the container and allocates. The member is made
the kernel's first choice.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_HOG = """
import os, sys
with open(sys.argv[1], "w") as group:
    group.write(str(os.getpid()))
held = []
while True:
    held.append(b"x" * (4 << 20))
"""


def exhaust(pid: int) -> subprocess.Popen[bytes]:
    """Start the process that allocates beside the process `pid`. The caller kills it.

    Raises OSError.
    """
    group = _group(pid)
    Path(f"/proc/{pid}/oom_score_adj").write_text("1000")
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _HOG, str(group / "cgroup.procs")],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _group(pid: int) -> Path:
    """Return the directory of a process's memory cgroup, of version 1 or 2."""
    unified: Path | None = None
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return _GROUPS / "memory" / path.lstrip("/")
        if not controllers:
            unified = _GROUPS / path.lstrip("/")
    if unified is None:
        raise OSError(f"process {pid} is in no memory cgroup")
    return unified
