"""Checkpoints, and the files made from them, for `Maintenance.Snapshot`.

    <directory>/<n>/state    the checkpoint: hard links
    <directory>/<n>/db       the file that is being written
    <directory>/kept         the last one that was completed, if it is large

The file is read while it grows. Both names go when it is complete. Its readers hold the open file,
so its blocks are free as soon as the last reader is done, also if the member is killed. Names that
a killed member left are removed at its next start.

A large file is kept: when its readers are done, the next one is made of it, by writing what has
changed. It goes `KEPT` seconds after the first of those was made as a whole, since a page that the
disk has damaged would be in all that follow; when it takes more of the disk than it leaves free;
and when another state takes the place of the database.

Files are made one at a time, and `FILES` of them exist at once. A call that cannot have its file at
once shares the next one with all other calls that wait. A reader that reads nothing for `STALLED`
seconds loses its file if calls wait for room.
"""

import asyncio
import errno
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from rusd.backup import own_process
from rusd.backup.own_process import ProcessFailed
from rusd.base.free_space import free
from rusd.base.worker import Worker
from rusd.storage import StorageError

#: Files that exist at once, each as large as the keys.
FILES: Final = 2
#: Bytes from which on a file is kept for the next one, and for how many seconds, with all that are
#: made of it.
LARGE: Final = 16 << 20
KEPT: Final = 2 * 3600.0
#: Seconds between looks at the disk while a file is kept.
LOOK: Final = 5.0
#: Seconds without a read after which a reader gives up its file if another call waits for room.
STALLED: Final = 30.0
#: Seconds after which a checkpoint is tried again that an unfinished apply prevented, doubled with
#: each attempt up to the last.
RETRY, RETRY_MAX = 0.02, 0.5
#: Writes the file.
_PROGRAM: Final = "rusd.backup.__main__"
_KEPT_NAME: Final = "kept"
_STOPPING = "the member is stopping"


class SnapshotFailed(Exception):
    """The file could not be written, for example since the disk is full."""


class Growth:
    """How far a file is written."""

    def __init__(self, size: int, written: int = 0) -> None:
        #: Bytes of the whole file.
        self.size = size
        self._written = written
        self._error = ""
        self._changed = asyncio.Event()

    def grew(self, written: int) -> None:
        """Note that so many bytes can be read."""
        self._written = written
        self._wake()

    @property
    def complete(self) -> bool:
        """Whether all of it can be read."""
        return self._written == self.size

    def fail(self, error: str) -> None:
        """Note that it grows no more."""
        self._error = self._error or error
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def reached(self, size: int) -> None:
        """Wait until so many bytes can be read. Raises SnapshotFailed if that will not be."""
        while self._written < size:
            if self._error:
                raise SnapshotFailed(self._error)
            await self._changed.wait()


class SnapshotFile:
    """A file, read once from its beginning, also while it grows."""

    def __init__(self, file: BinaryIO, growth: Growth) -> None:
        """`file`: may have other readers; its position is not used."""
        self._file = file
        self._growth = growth
        self._position = 0
        #: Bytes.
        self.size = growth.size

    async def grown(self, size: int) -> None:
        """Wait until the next bytes can be read, so many unless the file ends. Raises
        SnapshotFailed if it cannot be written, or the member is stopping.
        """
        await self._growth.reached(min(self._position + size, self.size))

    def read(self, size: int) -> bytes:
        """Return the next bytes, so many unless the file ends or was not `grown`: in a thread,
        since this is I/O. Raises SnapshotFailed if the file is gone.
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
        self.growth: Growth | None = None
        #: Whether it is one of those that may exist.
        self.has_room = False
        #: Makes the file, and exists as long as the file.
        self.life: asyncio.Task[None] | None = None

    async def ended(self) -> bool:
        """Return whether nobody reads it any more; what is left of it is done then."""
        assert self.life is not None
        if not self.readers:
            await asyncio.wait([self.life])
        return not self.readers

    def fail(self, error: str) -> None:
        """Tell all readers, unless they have all of the file."""
        if self.growth is not None:
            self.growth.fail(error)
        elif not self.file.done():
            self.file.set_exception(SnapshotFailed(error))
            # Nobody may wait for it any more.
            self.file.exception()


class _KeptFile(NamedTuple):
    """A complete file that has a name."""

    made_by: _Shared
    #: Time at which it goes, of the loop.
    until: float
    #: Removes it then.
    end: asyncio.Task[None]


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
        #: The file that is kept for the next one.
        self._kept: _KeptFile | None = None
        #: How often another state took the place of the database.
        self._state = 0
        #: Files that can be read, also those that grow.
        self.open = 0
        self._lives: set[asyncio.Task[None]] = set()
        self._stopped = False
        #: Checkpoints, reads and removals.
        self.worker = Worker("exports")
        #: Held by the reader that has bytes which no buffer of a stream counts yet.
        self.reading = asyncio.Lock()
        shutil.rmtree(directory, ignore_errors=True)

    @property
    def crowded(self) -> bool:
        """Whether calls wait until a file goes."""
        return self._next is not None and not self._next.has_room

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
            file = await asyncio.shield(shared.file)
            assert shared.growth is not None
            yield SnapshotFile(file, shared.growth)
        finally:
            shared.readers -= 1
            if not shared.readers:
                await self._end(shared)

    async def stop(self) -> None:
        """End all processes, remove all files, end the thread. Calls that wait for a file fail."""
        self._stopped = True
        lives = list(self._lives)
        for life in lives:
            _end(life)
        if lives:
            await asyncio.wait(lives)
        # (Also what began before is done then.)
        self._forget()
        await self.worker.run(self._remove_kept)
        self.worker.stop()

    async def _end(self, shared: _Shared) -> None:
        if self._next is shared:
            self._next = None
        assert shared.life is not None
        _end(shared.life)
        await asyncio.wait([shared.life])

    async def _live(self, shared: _Shared) -> None:
        """Make the file and hold it until it is cancelled."""
        try:
            async with self._room:
                shared.has_room = True
                try:
                    await self._make(shared)
                    await asyncio.Event().wait()
                except (StorageError, OSError, ProcessFailed) as error:
                    shared.fail(str(error))
                finally:
                    shared.fail(_STOPPING)
                    if shared.growth is not None:
                        self.open -= 1
                        # In the thread: this frees the blocks of a large file.
                        await self._surely(shared.file.result().close)
        finally:
            shared.fail(_STOPPING)

    async def _make(self, shared: _Shared) -> None:
        """Return when the file is complete; it can be read before."""
        async with self._making:
            # A later call must see what was applied before it: no one joins from here on.
            self._next = None
            self._number += 1
            place = self._directory / str(self._number)
            file = place / "db"
            state, until = self._state, asyncio.get_running_loop().time() + KEPT
            try:
                until = await self._take_kept(file) or until
                # (It starts while the checkpoint is made.)
                arguments = (str(place / "state"), str(file), str(self._reserve))
                async with own_process.running(_PROGRAM, *arguments) as process:
                    await self._copy_state(place)
                    if state != self._state:
                        await self.worker.run(partial(file.unlink, missing_ok=True))
                    process.give_word()
                    async for line in process.lines():
                        written, size = map(int, line.split())
                        if shared.growth is None:
                            shared.file.set_result(await self.worker.run(partial(_open, file)))
                            shared.growth = Growth(size)
                            self.open += 1
                        shared.growth.grew(written)
            finally:
                growth = shared.growth
                size = growth.size if growth is not None and growth.complete else 0
                keep = size >= LARGE and state == self._state
                if keep:
                    self._keep(shared, size, until)
                await self._surely(partial(self._leave, place, keep=keep))

    async def _surely(self, work: Callable[[], None]) -> None:
        """Do `work` in the thread, also if this is cancelled: readers may leave at any time."""
        await asyncio.shield(self.worker.run(work))

    def _leave(self, place: Path, *, keep: bool) -> None:
        """Remove a file and all that was needed for it, or all but the file."""
        try:
            if keep:
                (place / "db").replace(self._directory / _KEPT_NAME)
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _keep(self, shared: _Shared, size: int, until: float) -> None:
        """Note that a file is kept from now on, in place of the one before."""
        self._forget()
        end = asyncio.create_task(self._end_of_kept(size, until))
        self._kept = _KeptFile(shared, until, end)

    async def _take_kept(self, file: Path) -> float | None:
        """Give the file that is kept a new name, unless it is being read; return when it goes."""
        kept = self._kept
        if kept is None or not await kept.made_by.ended() or self._kept is not kept:
            return None

        def take() -> None:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with suppress(FileNotFoundError):
                (self._directory / _KEPT_NAME).replace(file)

        self._forget()
        await self._surely(take)
        return kept.until

    async def _end_of_kept(self, size: int, until: float) -> None:
        """Remove the file that is kept when it is old, or takes more of the disk than it leaves."""
        loop = asyncio.get_running_loop()
        least = max(size, 2 * self._reserve)
        # (A disk that does not say what is free is as a full one.)
        with suppress(OSError):
            while loop.time() < until:
                if await self.worker.run(partial(free, self._directory)) < least:
                    break
                await asyncio.sleep(LOOK)
        self._kept = None
        await self.worker.run(self._remove_kept)

    def replaced(self) -> None:
        """Note that another state takes the place of the database: its rows may be other ones."""
        self._state += 1
        if self._kept is not None:
            self._forget()
            self.worker.run(self._remove_kept)

    def _forget(self) -> None:
        """Note that no file is kept."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.end.cancel()

    def _remove_kept(self) -> None:
        (self._directory / _KEPT_NAME).unlink(missing_ok=True)

    async def _copy_state(self, place: Path) -> None:
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


def _end(life: asyncio.Task[None]) -> None:
    """Cancel it once: a second time would end its wait for its process."""
    if not life.cancelling():
        life.cancel()


def _open(path: Path) -> BinaryIO:
    return path.open("rb")
