"""Checkpoints, and the files made from them, for `Maintenance.Snapshot`.

    <directory>/<n>/state    the checkpoint: hard links, removed when the file is there
    <directory>/<n>/db       the file, removed when its reader is done

Files are made one at a time, and so many exist at once that the disk is bounded; who comes later
waits. What a killed member has left is removed at its next start.
"""

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

import rusd
from rusd.base.worker import Worker
from rusd.storage import StorageError

#: Files that exist at once, each as large as the keys.
FILES: Final = 2
#: Seconds after which a checkpoint is tried again that an unfinished apply prevented, doubled with
#: each attempt up to the last.
RETRY, RETRY_MAX = 0.02, 0.5
#: Bytes of a failed process's output that its error quotes.
_QUOTED = 500


class SnapshotFailed(Exception):
    """The file could not be written, for example since the disk is full."""


class SnapshotFile:
    """A finished file, read once from its beginning. The methods do I/O: call them in a thread."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        #: Bytes.
        self.size = os.fstat(file.fileno()).st_size

    def read(self, size: int) -> bytes:
        """Return the next bytes, so many unless the file ends."""
        return self._file.read(size)


class SnapshotFiles:
    """All files of one member. Its methods belong to the event loop's thread."""

    def __init__(self, directory: Path, checkpoint: Callable[[Path], bool]) -> None:
        """`directory`: for this alone, on the database's file system; emptied here. `checkpoint`:
        of the state machine, which may not be possible at the moment (False).
        """
        self._directory = directory
        self._checkpoint = checkpoint
        self._number = 0
        self._room = asyncio.Semaphore(FILES)
        self._making = asyncio.Lock()
        #: Checkpoints, reads and removals.
        self.worker = Worker("exports")
        shutil.rmtree(directory, ignore_errors=True)

    @asynccontextmanager
    async def make(self) -> AsyncIterator[SnapshotFile]:
        """Make a file of the state as it is now, or a little later. It exists within the block.

        Raises SnapshotFailed.
        """
        async with self._room:
            self._number += 1
            place = self._directory / str(self._number)
            try:
                async with self._making:
                    await self._write(place)
                opened = await self.worker.run(partial(_open, place / "db"))
                with opened:
                    yield SnapshotFile(opened)
            except (StorageError, OSError) as error:
                raise SnapshotFailed(str(error)) from error
            finally:
                await self.worker.run(partial(shutil.rmtree, place, ignore_errors=True))

    def stop(self) -> None:
        """End the thread. Nothing is made any more."""
        self.worker.stop()

    async def _write(self, place: Path) -> None:
        state = place / "state"

        def checkpoint() -> bool:
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            return self._checkpoint(state)

        retry = RETRY
        while not await self.worker.run(checkpoint):
            await asyncio.sleep(retry)
            retry = min(2 * retry, RETRY_MAX)
        await _run(str(state), str(place / "db"))
        await self.worker.run(partial(shutil.rmtree, state, ignore_errors=True))


def _open(path: Path) -> BinaryIO:
    return path.open("rb")


async def _run(checkpoint: str, file: str) -> None:
    """Run the process that writes the file. It does not outlive this call."""
    # The interpreter is told where this package is, and does not look into the current directory.
    packages = str(Path(rusd.__file__).parents[1])
    path = os.pathsep.join(filter(None, (packages, os.environ.get("PYTHONPATH"))))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "rusd.backup", checkpoint, file),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    )
    try:
        assert process.stderr is not None
        said = await process.stderr.read()
        code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if code != 0:
        text = said.decode(errors="replace").strip()[-_QUOTED:]
        raise SnapshotFailed(text or f"its process ended with {code}")
