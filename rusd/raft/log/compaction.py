"""Shortens the log: makes the state durable, then drops the entries that it contains.

The sync runs in the worker, and covers what was applied before it began. The log is cut in a later
turn, at most up to there: after a crash the state is never behind the beginning of the log.
"""

from collections.abc import Callable

from rusd.base.supervised import Fail, Tasks
from rusd.base.worker import Worker
from rusd.raft.config import RaftConfig
from rusd.raft.log.journal import Journal
from rusd.raft.ports import Machine

#: Bytes of log above which it is compacted before its time, and what is then kept at most.
LOG_BYTES = 128 << 20
KEPT_BYTES = 32 << 20


class Compaction:
    """Decides when and how far to compact, with a margin for slow members and outgoing
    snapshots.
    """

    def __init__(
        self,
        config: RaftConfig,
        machine: Machine,
        journal: Journal,
        lowest_index: Callable[[], int | None],
        worker: Worker,
        fail: Fail,
        wake: Callable[[], None],
    ) -> None:
        """`lowest_index`: of the snapshots that are being sent; None if there is none. `wake` asks
        for a turn, since a sync has ended.
        """
        self._config = config
        self._machine = machine
        self._journal = journal
        self._lowest_index = lowest_index
        self._worker = worker
        self._tasks = Tasks(fail)
        self._wake = wake
        #: Applied index at the last compaction.
        self.at = machine.positions()[0].index
        #: The state is durable up to here at least, and the log not yet cut; 0: nothing to do.
        self._synced = 0

    def step(self, applied: int) -> None:
        """Cut the log if a sync has ended; begin one if enough was applied since the last time, or
        the log is too large. Called at the end of a turn.
        """
        if self._synced:
            synced, self._synced = self._synced, 0
            self._journal.compact(self._first(synced))
        large = self._journal.size >= LOG_BYTES
        due = applied - self.at >= self._config.snapshot_count or (large and applied > self.at)
        if not due or self._tasks:
            return
        self.at = applied
        if self._first(applied) > self._journal.first_index:
            self._tasks.start("sync the state", self._sync(applied))

    def _first(self, applied: int) -> int:
        """Return the first index to keep if the state is durable up to `applied`."""
        first = applied - self._config.catchup_entries
        if self._journal.size >= LOG_BYTES:
            first = max(first, self._journal.index_keeping(KEPT_BYTES))
        lowest = self._lowest_index()
        return min(first, applied, applied if lowest is None else lowest)

    async def _sync(self, applied: int) -> None:
        await self._worker.run(self._machine.sync)
        self._synced = applied
        self._wake()

    async def stop(self) -> None:
        """Wait until no sync of the state is running."""
        await self._tasks.finish()
