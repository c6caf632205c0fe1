"""Shortening the log: first the state is made durable, then what it holds is forgotten."""

from collections.abc import Callable

from rusd.raft.config import RaftConfig
from rusd.raft.log.journal import Journal
from rusd.raft.ports import Machine

#: Bytes of log above which it is compacted before its time, and what is then kept at most.
LOG_BYTES = 128 << 20
KEPT_BYTES = 32 << 20


class Compaction:
    """Decides when and how far; keeps a margin for members that lag or are being sent a state."""

    def __init__(
        self,
        config: RaftConfig,
        machine: Machine,
        journal: Journal,
        lowest_index: Callable[[], int | None],
    ) -> None:
        """`lowest_index`: of the snapshots that are being sent; None if there is none."""
        self._config = config
        self._machine = machine
        self._journal = journal
        self._lowest_index = lowest_index
        #: Applied index at the last compaction.
        self.at = machine.positions()[0].index

    def step(self, applied: int) -> None:
        """Compact if enough was applied since the last time, or the log is too large."""
        journal = self._journal
        large = journal.size >= LOG_BYTES
        if applied - self.at < self._config.snapshot_count and not (large and applied > self.at):
            return
        self.at = applied
        first = applied - self._config.catchup_entries
        if large:
            first = max(first, journal.index_keeping(KEPT_BYTES))
        lowest = self._lowest_index()
        first = min(first, applied, applied if lowest is None else lowest)
        if first > journal.first_index:
            self._machine.sync()
            journal.compact(first)
