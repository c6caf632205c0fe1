"""Checkpoints, and the files made from them, for `Maintenance.Snapshot`.

    <directory>/<n>/state    the checkpoint: hard links
    <directory>/<n>/db       the file that is being written

Both names go when the file is complete. Its readers hold the open file, so its blocks are free as
soon as the last reader is done, also if the member is killed. Names that a killed member left are
removed at its next start.

Files are made one at a time, and `FILES` of them exist at once. A call that cannot have its file at
once shares the next one with all other calls that wait. A reader that reads nothing for `STALLED`
seconds loses its file if calls wait for room.
"""

import asyncio
import errno
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

from rusd.backup import own_process
from rusd.backup.own_process import ProcessFailed
from rusd.base.free_space import free
from rusd.base.worker import Worker
from rusd.storage import StorageError

#: Files that exist at once, each as large as the keys.
FILES: Final = 2
#: Seconds without a read after which a reader gives up its file if another call waits for room.
STALLED: Final = 30.0
#: Seconds after which a checkpoint is tried again that an unfinished apply prevented, doubled with
#: each attempt up to the last.
RETRY, RETRY_MAX = 0.02, 0.5
#: Writes the file.
_PROGRAM: Final = "rusd.backup.__main__"
_STOPPING = "the member is stopping"


class SnapshotFailed(Exception):
    """The file could not be written, for example since the disk is full."""


class SnapshotFile:
    """A finished file, read once from its beginning. The methods do I/O: call them in a thread."""

    def __init__(self, file: BinaryIO) -> None:
        """`file`: may have other readers; its position is not used."""
        self._file = file
        self._position = 0
        #: Bytes.
        self.size = os.fstat(file.fileno()).st_size

    def read(self, size: int) -> bytes:
        """Return the next bytes, so many unless the file ends. Raises SnapshotFailed if the member
        is stopping.
        """
        if self._file.closed:
            raise SnapshotFailed(_STOPPING)
        data = os.pread(self._file.fileno(), size, self._position)
        self._position += len(data)
        return data


class _Shared:
    """One file and the calls that wait for it or read it."""

    def __init__(self) -> None:
        self.readers = 0
        #: The open file, or SnapshotFailed.
        self.file: asyncio.Future[BinaryIO] = asyncio.get_running_loop().create_future()
        #: Makes the file, and exists as long as the file.
        self.life: asyncio.Task[None] | None = None


class SnapshotFiles:
    """All files of one member. Its methods belong to the event loop's thread."""

    def __init__(
        self, directory: Path, checkpoint: Callable[[Path], bool], *, reserve: int = 0
    ) -> None:
        """`directory`: for this alone, on the database's file system; emptied here. `checkpoint`:
        of the state machine, which may not be possible at the moment (False). `reserve`: free bytes
        of the disk that no file takes.
        """
        self._directory = directory
        self._checkpoint = checkpoint
        self._reserve = reserve
        self._number = 0
        self._room = asyncio.Semaphore(FILES)
        self._making = asyncio.Lock()
        #: The file whose checkpoint has not begun.
        self._next: _Shared | None = None
        #: Files that are complete and exist.
        self.open = 0
        self._lives: set[asyncio.Task[None]] = set()
        self._stopped = False
        #: Checkpoints, reads and removals.
        self.worker = Worker("exports")
        shutil.rmtree(directory, ignore_errors=True)

    @property
    def crowded(self) -> bool:
        """Whether calls wait until a file goes."""
        return self._next is not None and self._room.locked()

    @asynccontextmanager
    async def make(self) -> AsyncIterator[SnapshotFile]:
        """Make a file of the state as it is now, or a little later. It exists within the block.

        Raises SnapshotFailed.
        """
        if self._stopped:
            raise SnapshotFailed(_STOPPING)
        shared = self._next
        if shared is None:
            shared = self._next = _Shared()
            shared.life = asyncio.create_task(self._live(shared))
            self._lives.add(shared.life)
            shared.life.add_done_callback(self._lives.discard)
        shared.readers += 1
        try:
            yield SnapshotFile(await asyncio.shield(shared.file))
        finally:
            shared.readers -= 1
            if not shared.readers:
                await self._end(shared)

    async def stop(self) -> None:
        """End all processes, remove all files, end the thread. Calls that wait for a file fail."""
        self._stopped = True
        lives = list(self._lives)
        for life in lives:
            life.cancel()
        if lives:
            await asyncio.wait(lives)
        self.worker.stop()

    async def _end(self, shared: _Shared) -> None:
        if self._next is shared:
            self._next = None
        assert shared.life is not None
        shared.life.cancel()
        await asyncio.wait([shared.life])

    async def _live(self, shared: _Shared) -> None:
        """Make the file and hold it until it is cancelled."""
        try:
            async with self._room:
                opened = await self._made(shared)
                self.open += 1
                try:
                    shared.file.set_result(opened)
                    await asyncio.Event().wait()
                finally:
                    self.open -= 1
                    # In the thread: this frees the blocks of a large file.
                    await self.worker.run(opened.close)
        except (StorageError, OSError, ProcessFailed) as error:
            shared.file.set_exception(SnapshotFailed(str(error)))
        finally:
            if not shared.file.done():
                shared.file.set_exception(SnapshotFailed(_STOPPING))
            # Nobody may wait for it any more.
            shared.file.exception()

    async def _made(self, shared: _Shared) -> BinaryIO:
        async with self._making:
            # A later call must see what was applied before it: no one joins from here on.
            self._next = None
            self._number += 1
            place = self._directory / str(self._number)
            try:
                await self._write(place)
                return await self.worker.run(partial(_open, place / "db"))
            finally:
                await self.worker.run(partial(shutil.rmtree, place, ignore_errors=True))

    async def _write(self, place: Path) -> None:
        state = place / "state"

        def checkpoint() -> bool:
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            if free(place) < self._reserve:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            # (An attempt that failed may have left a part.)
            shutil.rmtree(state, ignore_errors=True)
            return self._checkpoint(state)

        retry = RETRY
        while not await self.worker.run(checkpoint):
            await asyncio.sleep(retry)
            retry = min(2 * retry, RETRY_MAX)
        await own_process.run(_PROGRAM, str(state), str(place / "db"), str(self._reserve))


def _open(path: Path) -> BinaryIO:
    return path.open("rb")
