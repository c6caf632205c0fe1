"""Makes backups while this member leads.

    quorum round ─▶ file of `SnapshotFiles` ─▶ draft with SHA-256, synced ─▶ verified ─▶ named
    ─▶ superseded backups removed

One backup is made at a time. A member that is no leader any more gives its draft up: the next
leader goes on by what it finds in the place. A failure is logged and counted, and the next attempt
follows; it never ends the member.
"""

import asyncio
import hashlib
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from rusd.backup import own_process
from rusd.backup.own_process import ProcessFailed
from rusd.backup.scheduled.drafts import Draft
from rusd.backup.scheduled.names import Backup, Names
from rusd.backup.scheduled.place import Place
from rusd.backup.scheduled.schedule import Entry, Schedule, abandoned
from rusd.backup.snapshot_files import SnapshotFailed, SnapshotFile, SnapshotFiles
from rusd.base import durable
from rusd.base.errors import Refusal
from rusd.base.logs import get_logger, go_duration
from rusd.base.worker import Worker
from rusd.raft.interface import ReadIndex, Role

log = get_logger(__name__)

#: Bytes copied at once.
PIECE: Final = 1 << 20
#: Bytes after which the draft is written to the disk, so that no long sync is left for the end.
SYNCED: Final = 32 << 20
#: Seconds between two looks at the place, at most: clocks jump, and files are removed by hand.
LOOK: Final = 60.0
_VERIFY: Final = "rusd.backup.scheduled.verify"


class Node(Role, ReadIndex, Protocol):
    """The part of the Raft node in use."""


class BackupFailed(Exception):
    """A backup could not be made; says why."""


class Backups:
    """The backups of one member. Its methods belong to the event loop's thread."""

    def __init__(
        self,
        node: Node,
        files: SnapshotFiles,
        place: Place,
        names: Names,
        schedule: Schedule,
        *,
        reserve: Callable[[Path], int] = lambda _: 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`reserve`: free bytes that a draft in a directory must leave. `clock`: Unix time."""
        self._node = node
        self._files = files
        self._place = place
        self._names = names
        self._schedule = schedule
        self._clock = clock
        self._changed = asyncio.Event()
        self._preparations: list[Callable[[Backup, int], Awaitable[None]]] = []
        self._listeners: list[Callable[[Backup, int], None]] = []
        self._worker = Worker("backups")
        self._draft = Draft(place, names.partial, self._worker, reserve)
        #: The newest backup that this member wrote or found, and its bytes.
        self.newest: Backup | None = None
        self.size = 0
        #: Of the last one that it wrote; 0 before.
        self.seconds = 0.0
        self.successes = 0
        self.failures = 0
        #: Why the last attempt failed; "" if it did not.
        self.error = ""

    def on_role(self, leader_id: int, term: int, is_leader: bool) -> None:
        """A `rusd.raft.ports.RoleListener`."""
        self._schedule.responsible(is_leader, self._clock())
        self._changed.set()

    def before_named(self, prepare: Callable[[Backup, int], Awaitable[None]]) -> None:
        """Call `prepare` with each backup that was verified and has no name yet, and the index of
        its last entry.
        """
        self._preparations.append(prepare)

    def on_made(self, listener: Callable[[Backup, int], None]) -> None:
        """Call `listener` with each backup that was made, and the index of its last entry."""
        self._listeners.append(listener)

    def demand(self) -> None:
        """Make a backup soon, before the interval has passed."""
        self._schedule.demand()
        self._changed.set()

    def overdue(self) -> str:
        """Return what is wrong if a backup is overdue; "" otherwise."""
        seconds = self._schedule.overdue(self._clock())
        if not seconds:
            return ""
        last = self.newest.name if self.newest is not None else "none"
        reason = f": {self.error}" if self.error else ""
        return f"overdue for {int(seconds)}s, the last one is {last}{reason}"

    async def run(self) -> None:
        """Make backups until cancelled."""
        try:
            await self._sweep()
            while True:
                self._changed.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(await self._step()):
                        await self._changed.wait()
        finally:
            self._worker.stop()

    async def _step(self) -> float | None:
        """Make a backup if one is due; return seconds until the next look, None: once it leads."""
        if not self._node.is_leader:
            return None
        try:
            found = await self._found()
            wait = self._schedule.wait(found, self._clock())
            if wait == 0:
                await self._backup()
                return 0.0
        except (BackupFailed, SnapshotFailed, ProcessFailed, Refusal, OSError) as error:
            if not self._node.is_leader:
                return None
            return self._failed(error)
        return min(wait, LOOK)

    def _failed(self, error: Exception) -> float:
        self.failures += 1
        self.error = str(error) or type(error).__name__
        retry = self._schedule.failed(self._clock())
        fields = {"error": self.error, "retry-in": go_duration(retry)}
        log.error("failed to make a backup", extra={"fields": fields})
        return min(retry, LOOK)

    async def _sweep(self) -> None:
        """Remove what an earlier start of this member left; see what there is."""
        try:
            await self._worker.run(self._draft.remove)
            await self._found()
        except OSError as error:
            log.warning("cannot read the backups", extra={"fields": {"error": str(error)}})

    async def _found(self) -> list[Backup]:
        """Return the backups in the place; remove the drafts of members that are gone."""
        sizes, partial = await self._worker.run(self._look)
        now = self._clock()
        newest = self._schedule.newest(list(sizes), now)
        if newest is not None:
            self.newest, self.size = newest, sizes[newest]
        for entry in partial:
            if abandoned(entry, now):
                await self._remove(entry.name)
        return list(sizes)

    async def _remove(self, name: str) -> None:
        shown = self._place.shown(name)
        try:
            await self._worker.run(lambda: self._place.delete(name))
        except OSError as error:
            fields = {"path": shown, "error": str(error)}
            log.warning("failed to remove a backup", extra={"fields": fields})
        else:
            log.info("removed a backup", extra={"fields": {"path": shown}})

    # One backup

    async def _backup(self) -> None:
        began, started = self._clock(), time.perf_counter()
        # All that was acknowledged before `began` is applied here, and the others follow.
        await self._node.read_index()
        async with self._draft.taken() as draft:
            async with self._files.make() as file:
                size = await self._copy(file)
            printed = await own_process.run(_VERIFY, str(draft))
            revision, index = map(int, printed.split())
            backup = self._names.backup(int(began), revision)
            for prepare in self._preparations:
                await prepare(backup, index)
            await self._worker.run(lambda: self._place.put(draft, backup.name))
        self._schedule.succeeded(backup)
        self.newest, self.size, self.error = backup, size, ""
        self.seconds = time.perf_counter() - started
        self.successes += 1
        fields = {
            "path": self._place.shown(backup.name),
            "revision": revision,
            "total-bytes": size,
            "took": go_duration(self.seconds),
        }
        log.info("made a backup", extra={"fields": fields})
        for listener in self._listeners:
            listener(backup, index)
        await self._retain(backup)

    async def _retain(self, written: Backup) -> None:
        """Remove what is superseded by a backup that was verified just now."""
        try:
            found = await self._found()
        except OSError as error:
            log.warning("cannot list the backups", extra={"fields": {"error": str(error)}})
            return
        for each in self._schedule.superseded(written, found, self._clock()):
            await self._remove(each.name)

    async def _copy(self, file: SnapshotFile) -> int:
        """Write a file with its SHA-256 behind, and sync it; return its bytes. Raises BackupFailed
        if this member is no leader any more, SnapshotFailed, OSError.
        """
        out = await self._worker.run(lambda: self._draft.open(buffering=0))
        digest = hashlib.sha256()

        def piece() -> int:
            data = file.read(PIECE)
            digest.update(data)
            self._write(out, data)
            return len(data)

        try:
            left = file.size
            while left:
                await file.grown(PIECE)
                copied = await self._worker.run(piece)
                left -= copied
                if not copied:
                    raise BackupFailed("the file ended early")
                if not self._node.is_leader:
                    raise BackupFailed("this member is not the leader any more")
            await self._worker.run(lambda: self._write(out, digest.digest()))
        finally:
            await self._worker.run(out.close)
        await self._worker.run(lambda: durable.sync(self._draft.path))
        return file.size + digest.digest_size

    # In the thread

    def _look(self) -> tuple[dict[Backup, int], list[Entry]]:
        """Return the bytes of each backup in the place, and what is unfinished."""
        entries = self._place.entries(self._names.prefix)
        parsed = ((self._names.parse(entry.name), entry.size) for entry in entries)
        sizes = {backup: size for backup, size in parsed if backup is not None}
        return sizes, [entry for entry in entries if self._names.is_partial(entry.name)]

    def _write(self, out: BinaryIO, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[out.write(rest) :]
        if out.tell() % SYNCED < len(data):
            os.fdatasync(out.fileno())
            self._draft.check_space()
