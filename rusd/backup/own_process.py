"""Programs of this room that run in processes of their own, and end with their parent.

`in_process` is their side of it.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import rusd

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


class Child:
    """A process as its parent sees it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    def give_word(self) -> None:
        """Let it begin, if it waits for that."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")

    async def lines(self) -> AsyncIterator[str]:
        """Yield what it prints until it ends. Raises ProcessFailed."""
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        said = asyncio.ensure_future(self._process.stderr.read())
        try:
            async for line in self._process.stdout:
                yield line.decode(errors="replace")
            text = (await said).decode(errors="replace").strip()[-_QUOTED:]
        finally:
            said.cancel()
        if code := await self._process.wait():
            raise ProcessFailed(text or f"its process ended with {code}")


@asynccontextmanager
async def running(module: str, *arguments: str) -> AsyncIterator[Child]:
    """Run `main` of a module in a process, which does not outlive the block."""
    packages = str(Path(rusd.__file__).parents[1])
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-c", _PROGRAM, packages, module, *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Child(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def run(module: str, *arguments: str) -> str:
    """Run `main` of a module in a process, which does not outlive this call; return what it
    printed. Raises ProcessFailed.
    """
    async with running(module, *arguments) as child:
        return "".join([line async for line in child.lines()])
