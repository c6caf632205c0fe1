"""A process that outlives its launcher and ends the members of a dead launcher.

The launcher (`process.Guard`) starts this file as a script, keeps the write end of its standard
input, and puts every member into the process group whose number the script prints. When the pipe
closes, because the launcher closed it or died in any way, the whole group is killed and the
temporary directory removed. Unlike Linux's parent-death signal this does not depend on the thread
that started the member, and it works on every POSIX system.

Only the standard library, and nothing of this package: the script is run in isolated mode.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time


def hold_group() -> int:
    """Starts a child that keeps a process group alive. Returns the number of the group."""
    ready, written = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        os.write(written, b".")
        wait_for_launcher()
        os._exit(0)
    os.read(ready, 1)
    return pid


def wait_for_launcher() -> None:
    """Wait until the launcher writes or closes its end of the pipe."""
    os.read(0, 1)


def main(directory: str) -> None:
    """Guard one process group; `directory` is removed at the end unless empty."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    group = hold_group()
    print(group, flush=True)
    wait_for_launcher()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    # Members that are being killed may still be creating files.
    for _ in range(50):
        if not directory or not os.path.exists(directory):
            break
        shutil.rmtree(directory, ignore_errors=True)
        time.sleep(0.02)


if __name__ == "__main__":
    main(sys.argv[1])
