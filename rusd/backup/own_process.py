"""Programs of this room that run in processes of their own, and end with their parent."""

import asyncio
import os
import sys
import threading
from pathlib import Path
from typing import Final

import rusd

#: Priority below the member's: calls that are served meanwhile come first.
NICE: Final = 10
#: Bytes of a failed process's output that its error quotes.
_QUOTED: Final = 500

#: The interpreter is told where this package is, and does not look into the current directory.
_PROGRAM: Final = """\
import importlib, sys
packages, module = sys.argv[1:3]
del sys.argv[1:3]
sys.path.append(packages)
sys.exit(importlib.import_module(module).main())
"""


class ProcessFailed(Exception):
    """The process ended with an error; the last of what it said."""


async def run(module: str, *arguments: str) -> str:
    """Run `main` of a module, which does not outlive this call; return what it printed.

    Raises ProcessFailed.
    """
    packages = str(Path(rusd.__file__).parents[1])
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-c", _PROGRAM, packages, module, *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        printed, said = await asyncio.gather(process.stdout.read(), process.stderr.read())
        code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if code != 0:
        text = said.decode(errors="replace").strip()[-_QUOTED:]
        raise ProcessFailed(text or f"its process ended with {code}")
    return printed.decode(errors="replace")


def become() -> None:
    """Called first in the process: it ends with its parent, which holds the other end of its
    standard input, and gives way to it.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.nice(NICE)


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)
