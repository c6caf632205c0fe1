"""Physical compaction: removes superseded revisions from disk in slices, between other work.

A compaction is *applied* at once (older revisions become unreadable); the disk space is freed by a
background task. It removes `--compaction-batch-limit` versions, rests for
`--compaction-sleep-interval`, and goes on; within a batch it works for a few milliseconds at a time
and then lets others work for as long, if there are any. It resumes by itself after a restart. etcd
does the same in its `scheduleCompaction`.
"""

import asyncio
import time
from collections.abc import Generator
from typing import Protocol

from rusd.base.distribution import Distribution, exponential
from rusd.base.logs import get_logger
from rusd.base.sliced import rest
from rusd.base.supervised import Fail, Tasks

log = get_logger(__name__)

#: Seconds of work between two rests within a batch.
STRETCH = 0.001
#: Work that takes so many times its time of the processor shares it with other processes (perhaps
#: other members): it makes room for them as well.
SHARED = 1.25
#: Seconds between two batches that a flag of 0 stands for.
DEFAULT_SLEEP = 0.01


class CompactedStore(Protocol):
    """The part of the MVCC store that physical compaction uses."""

    @property
    def compact_revision(self) -> int:
        """Revision up to which history is unreadable; -1 before the first compaction."""

    @property
    def finished_compact_revision(self) -> int:
        """Revision up to which superseded versions are removed from disk."""

    def compact_slices(self, limit: int) -> Generator[int, None, None]:
        """Remove superseded versions up to `compact_revision`, one slice per step; yields the
        number of versions removed, `limit` at most.
        """


class CompactionCounts:
    """Counts of compaction since the start, for the metrics."""

    def __init__(self) -> None:
        self.versions = 0
        #: Unix time of the last compaction's end; 0 before.
        self.last = 0
        #: Milliseconds of each stretch of work, and of each compaction.
        self.stretches = Distribution(exponential(1, 2, 13))
        self.totals = Distribution(exponential(100, 2, 14))


class Compactor:
    """Runs one physical compaction at a time, and resolves what waits for its end."""

    def __init__(
        self,
        store: CompactedStore,
        batch_limit: int,
        sleep_interval: float,
        on_failure: Fail,
    ) -> None:
        """`batch_limit`: versions removed between two rests of `sleep_interval` seconds (0: etcd's
        default). `on_failure` is called when the store cannot be written: the member must end.
        """
        self._store = store
        self._limit = batch_limit
        self._sleep = sleep_interval or DEFAULT_SLEEP
        self._tasks = Tasks(on_failure)
        self._task: asyncio.Task[None] | None = None
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self.counts = CompactionCounts()

    def schedule(self, revision: int) -> None:
        """Queue the physical compaction to `revision`, which was applied (or unfinished at
        start).
        """
        if self._task is None or self._task.done():
            self._task = self._tasks.start("physical compaction", self._run())

    def finished(self, revision: int) -> asyncio.Future[None]:
        """Resolves once all superseded versions at or below `revision` are removed."""
        future = asyncio.get_running_loop().create_future()
        if self._store.finished_compact_revision >= revision:
            future.set_result(None)
        else:
            self._waiters.append((revision, future))
            self.schedule(revision)
        return future

    def pause(self) -> None:
        """Stop using the store, which is about to be replaced, until `resume`."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def resume(self) -> None:
        """Continue on the replaced store, which may hold an unfinished compaction."""
        self._wake()
        if self._store.finished_compact_revision < self._store.compact_revision:
            self.schedule(self._store.compact_revision)

    async def stop(self) -> None:
        """Stop between two slices; the next start continues here."""
        await self._tasks.stop()
        for _, future in self._waiters:
            future.cancel()

    async def _run(self) -> None:
        while self._store.finished_compact_revision < self._store.compact_revision:
            target = self._store.compact_revision
            started = asyncio.get_running_loop().time()
            count = await self._remove()
            took = asyncio.get_running_loop().time() - started
            self.counts.totals.observe(took * 1000)
            self.counts.last = int(time.time())
            fields = {
                "compact-revision": target,
                "took": f"{took:.3f}s",
                "number-of-keys-compacted": count,
            }
            log.info("finished scheduled compaction", extra={"fields": fields})
            self._wake()

    async def _remove(self) -> int:
        """Remove all versions due now; return their number."""
        count = in_batch = 0
        began, used = time.perf_counter(), time.thread_time()
        for removed in self._store.compact_slices(self._limit):
            count += removed
            self.counts.versions += removed
            in_batch += removed
            worked = time.perf_counter() - began
            if worked < STRETCH and in_batch < self._limit:
                continue
            self.counts.stretches.observe(worked * 1000)
            if in_batch >= self._limit:
                in_batch = 0
                await asyncio.sleep(self._sleep)
            elif worked > SHARED * (time.thread_time() - used):
                await asyncio.sleep(worked)
            else:
                await rest(worked)
            began, used = time.perf_counter(), time.thread_time()
        return count

    def _wake(self) -> None:
        done = self._store.finished_compact_revision
        waiting = self._waiters
        self._waiters = [(revision, future) for revision, future in waiting if revision > done]
        for revision, future in waiting:
            if revision <= done and not future.done():
                future.set_result(None)
