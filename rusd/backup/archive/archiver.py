"""Writes segments while this member leads.

    entries applied here ─▶ draft with checksums, synced ─▶ named ─▶ segments of removed backups go

An entry that is applied is committed, so a leader that does not know yet that it was replaced
writes the same entries as the next one. A failure is logged and counted, and tried again; it never
ends the member, and nothing waits for it.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from rusd.backup.archive.chain import Chain, continued, orphans, reach
from rusd.backup.archive.names import Segment, SegmentNames, fingerprint, named
from rusd.backup.archive.segment import pieces
from rusd.backup.scheduled.drafts import Draft
from rusd.backup.scheduled.names import Backup, Names
from rusd.backup.scheduled.place import Place
from rusd.base import durable
from rusd.base.errors import Refusal
from rusd.base.logs import get_logger
from rusd.base.worker import Worker
from rusd.raft.commands import has_requests
from rusd.raft.interface import CommittedEntries, ReadIndex, Role
from rusd.raft.ports import LogEntry

log = get_logger(__name__)

#: Seconds between two looks at the log: Raft drops entries of it in the meantime.
LOOK: Final = 0.5
#: Entries, and bytes of them, that are written before the interval has passed.
EARLY_ENTRIES: Final = 1000
EARLY_BYTES: Final = 4 << 20
#: Entries, and bytes of them, in one segment at most (a larger entry has one of its own).
ENTRIES: Final = 4000
BYTES: Final = 16 << 20
#: Entries before the end of a backup in which its last request is looked for.
LOOK_BACK: Final = 64
#: Seconds between two looks at the place.
LOOK_AT_PLACE: Final = 60.0


class Node(Role, ReadIndex, CommittedEntries, Protocol):
    """The part of the Raft node in use."""


class _Gap(Exception):
    """The archive cannot be continued; says why."""


class Archiver:
    """The archive of one member. Its methods belong to the event loop's thread."""

    def __init__(
        self,
        node: Node,
        place: Place,
        backups: Names,
        names: SegmentNames,
        interval: float,
        demand: Callable[[], None],
        *,
        reserve: Callable[[Path], int] = lambda _: 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`interval`: seconds after which an entry is written. `demand` asks for a new backup.
        `reserve`: free bytes that a draft must leave.
        """
        self._node = node
        self._place = place
        self._backups = backups
        self._names = names
        self._interval = interval
        self._demand = demand
        self._clock = clock
        self._changed = asyncio.Event()
        self._worker = Worker("archive")
        self._draft = Draft(place, names.partial, self._worker, reserve)
        #: A segment is written at a time.
        self._writing = asyncio.Lock()
        self._chain: Chain | None = None
        #: The last backup whose first segment is written, and the one that is to get its name.
        self._linked: Chain | None = None
        self._expected = ""
        #: The chain that begins with a backup made just now.
        self._next: Chain | None = None
        #: Whether this leader has looked for the segments of the one before.
        self._sought = False
        #: Whether another member led since the last look.
        self._resigned = False
        #: When the place was looked at, and when a segment is tried again.
        self._looked = self._retry_at = 0.0
        #: Since when the archive lacks entries, None: since it does not, or while this member does
        #: not lead.
        self._since: float | None = None
        self.segments = 0
        self.failures = 0
        #: Bytes of all segments.
        self.size = 0
        #: Why the last attempt failed; "" if it did not.
        self.error = ""

    @property
    def last(self) -> int:
        """Index of the last entry that is archived; 0 while this member does not lead."""
        return self._chain.last if self._chain is not None else 0

    @property
    def behind(self) -> float:
        """Seconds since when the archive lacks committed entries; 0 if it does not."""
        return 0.0 if self._since is None else self._clock() - self._since

    def overdue(self) -> str:
        """Return what is wrong if entries should be in the archive by now; "" otherwise."""
        if self.behind <= 2 * self._interval:
            return ""
        reason = self.error or ("a new backup is needed first" if self._chain is None else "slow")
        return f"the last {int(self.behind)}s are not archived: {reason}"

    def on_role(self, leader_id: int, term: int, is_leader: bool) -> None:
        """A `rusd.raft.ports.RoleListener`."""
        self._resigned |= not is_leader
        self._changed.set()

    async def precede(self, backup: Backup, index: int) -> None:
        """Write the first segment of a backup that is about to get its name, so that no kill leaves
        the backup without.
        """
        following = Chain(backup.name, index, index)
        self._expected = backup.name
        try:
            await self._link(following)
        except OSError as error:
            self._failed(error)
        else:
            self._linked = following

    def backed_up(self, backup: Backup, index: int) -> None:
        """Go on behind a backup that contains the entries up to `index`."""
        self._next = Chain(backup.name, index, index)
        self._changed.set()

    async def run(self) -> None:
        """Archive until cancelled."""
        try:
            with suppress(OSError):
                await self._worker.run(self._draft.remove)
            while True:
                self._changed.clear()
                await self._attempt()
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK if self._node.is_leader else None):
                        await self._changed.wait()
        finally:
            self._worker.stop()

    async def _attempt(self) -> None:
        if self._resigned or not self._node.is_leader:
            self._chain, self._next, self._since = None, None, None
            self._sought = self._resigned = False
        if not self._node.is_leader or self._clock() < self._retry_at:
            return
        try:
            await self._step()
        except _Gap as gap:
            self._chain = None
            self._since = self._since or self._clock()
            fields = {"reason": str(gap)}
            log.warning("the archive needs a new backup", extra={"fields": fields})
            self._demand()
        except (Refusal, OSError) as error:
            if not self._node.is_leader:
                return
            self._retry_at = self._clock() + self._interval
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        self.error = str(error) or type(error).__name__
        log.error("failed to archive entries", extra={"fields": {"error": self.error}})

    async def _step(self) -> None:
        if not self._sought:
            self._since = self._clock()
            self._chain = await self._continued()
            self._sought = True
            if self._chain is None and self._next is None:
                raise _Gap("no segments that the log continues")
        if self._next is not None:
            await self._begin(self._next)
        if self._chain is None:
            return
        if self._clock() - self._looked >= LOOK_AT_PLACE:
            await self._look(self._chain)
        await self._archive(due=False)

    async def _begin(self, following: Chain) -> None:
        """Go on behind a new backup, once the chain before it has all up to there."""
        if following != self._linked:
            await self._link(following)
        if self._chain is not None:
            try:
                await self._archive(due=True)
            except _Gap as gap:
                log.warning("the archive has a gap", extra={"fields": {"reason": str(gap)}})
        self._chain = following
        if self._next is following:
            self._next = None
        await self._look(following)

    async def _link(self, following: Chain) -> None:
        """Write the segment by which a leader that comes before there is another one finds that
        its log continues a new backup.
        """
        after = max(0, following.base - LOOK_BACK)
        # (One by one: a restored log begins with entries that are not to be had.)
        for index in range(following.base, after, -1):
            found = self._node.committed(index - 1, 1, 1)
            if found is None:
                return
            if found and has_requests(found[0][0]):
                await self._write(following, found)
                return

    # The place

    async def _continued(self) -> Chain | None:
        """Return the chain of the leader before, if this member's log continues it."""
        # (What that leader archived is committed, so it is applied here behind this round.)
        await self._node.read_index()
        backups, segments = await self._listed()
        self._looked = self._clock()

        def holds(segment: Segment) -> bool:
            found = self._node.committed(segment.last - 1, 1, 1)
            return found is not None and [*map(fingerprint, found)] == [segment.fingerprint]

        return continued(backups, segments, holds)

    async def _listed(self) -> tuple[set[str], list[Segment]]:
        """Return the names of backups, and the segments."""

        def look() -> tuple[set[str], list[Segment]]:
            names = [each.name for each in self._place.entries(self._backups.prefix)]
            backups = {name for name in names if self._backups.parse(name) is not None}
            segments = map(self._names.parse, names)
            return backups, [each for each in segments if each is not None]

        return await self._worker.run(look)

    async def _look(self, chain: Chain) -> None:
        """Remove segments of backups that are gone. Raises _Gap if files of the chain are gone."""
        self._looked = self._clock()
        backups, segments = await self._listed()
        if chain.backup not in backups:
            raise _Gap(f"{chain.backup} is gone")
        mine = [each for each in segments if each.backup == chain.backup]
        if chain.last > chain.base and (not mine or reach(chain.backup, mine).last < chain.last):
            raise _Gap(f"segments of {chain.backup} are gone")
        if gone := set(orphans(backups | {self._expected}, segments)):
            # (A listing is not of one moment: what is new may be in it without what it follows.)
            for each in gone.intersection(orphans(*await self._listed())):
                await self._worker.run(lambda name=each.name: self._place.delete(name))  # type: ignore[misc]

    # Segments

    async def _archive(self, *, due: bool) -> None:
        """Write all entries if the interval has passed, or `due`, or they are many."""
        while (chain := self._chain) is not None:
            entries = self._node.committed(chain.last, ENTRIES, BYTES)
            if entries is None:
                raise _Gap(f"the log has dropped entry {chain.last + 1}")
            # (Entries without requests change nothing, and have no fingerprint of their own.)
            while entries and not has_requests(entries[-1][0]):
                entries = entries[:-1]
            now = self._clock()
            if not entries:
                self._since, self.error = None, ""
                return
            if self._since is None:
                self._since = now
            many = (
                len(entries) >= EARLY_ENTRIES
                or sum(len(command) for command, _, _ in entries) >= EARLY_BYTES
            )
            if not (due or many or now - self._since >= self._interval):
                return
            await self._write(chain, entries)
            # (Those that are left were committed meanwhile.)
            self._since, self.error = now, ""
            self._chain = chain._replace(last=entries[-1][1])

    async def _write(self, chain: Chain, entries: Sequence[LogEntry]) -> None:
        async with self._writing, self._draft.taken():
            self.size += await self._worker.run(lambda: self._put(chain, entries))
        self.segments += 1

    # In the thread

    def _put(self, chain: Chain, entries: Sequence[LogEntry]) -> int:
        """Write a segment; return its bytes."""
        with self._draft.open() as out:
            for piece in pieces(chain.backup, entries):
                out.write(piece)
                self._draft.check_space()
            size = out.tell()
        durable.sync(self._draft.path)
        first, last = entries[0][1], entries[-1][1]
        found = named(chain.backup, chain.base, first, last, fingerprint(entries[-1]))
        self._place.put(self._draft.path, found.name)
        return size
