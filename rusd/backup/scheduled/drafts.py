"""The unfinished file of one member in a place: there is one at most."""

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from rusd.backup.scheduled.place import Place
from rusd.base.free_space import free
from rusd.base.worker import Worker

#: Seconds that a member which stops waits for a place that does not answer.
GIVE_UP = 2.0


class Draft:
    """Made anew for each file. All methods but `taken` belong to the thread of `worker`."""

    def __init__(
        self, place: Place, name: str, worker: Worker, reserve: Callable[[Path], int]
    ) -> None:
        """`reserve`: free bytes that it must leave."""
        self._place = place
        self._name = name
        self._worker = worker
        self._reserve = reserve

    @property
    def path(self) -> Path:
        """Where it is."""
        return self._place.drafts / self._name

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[Path]:
        """Remove what is left of it at the end; a `put` of it that runs is made to fail if this is
        cancelled.
        """
        try:
            yield self.path
        except asyncio.CancelledError:
            self._place.abandon()
            raise
        finally:
            # (Behind a `put` to a store that does not answer it waits for long. The next start
            # removes what is left.)
            with suppress(TimeoutError):
                async with asyncio.timeout(GIVE_UP):
                    await self._worker.run(self.remove)

    def open(self, buffering: int = -1) -> BinaryIO:
        """Begin a new one. Raises OSError."""
        self._place.prepare()
        self.remove()
        # (0o600: it holds keys, and the hashes of passwords.)
        handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        return open(handle, "wb", buffering=buffering)

    def check_space(self) -> None:
        """Raise OSError with ENOSPC if less than the reserve is left."""
        if free(self._place.drafts) < self._reserve(self._place.drafts):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def remove(self) -> None:
        """Remove it, if it is there. Raises OSError."""
        self.path.unlink(missing_ok=True)
