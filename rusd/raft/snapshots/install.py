"""Installs a snapshot of the leader on a member that the leader's log cannot bring up to date.

`incoming.py` hands it over whole and durable. If it is newer than what this member knows to be
committed, and holds what its leader said, it replaces the state, then the log. The order, and what
is true after each step:

    prepare   in the worker   the state is open beside the live one; nothing has changed
    commit    in the worker   the next start finds the new state, and discards an older log
    install   on the loop     the live state is the new one
    seat      on the loop     the log in memory continues from it
    flush     in the worker   so does the log on the disk
    release   in the worker   the old state is gone

From commit to flush no turn runs (as during any flush), so nothing is applied to the old state or
sent on the strength of either. During prepare and release the member takes part as ever. What
fails in prepare (a full disk, a damaged checkpoint) ends the stream. Whatever fails from commit on
ends the process, before another turn runs; the next start finds one whole state.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Protocol

from rusd.base.worker import Worker
from rusd.raft.log.compaction import Compaction
from rusd.raft.log.journal import Journal
from rusd.raft.log.reconcile import reconcile
from rusd.raft.ports import CheckpointError, Machine, Position
from rusd.raft.snapshots.transfer import Received, SnapshotError


class Follower(Protocol):
    """The part of the core that an installation uses."""

    @property
    def commit_index(self) -> int:
        """Highest index known to be committed."""

    def installed(self, last: Position) -> None:
        """Continue after a snapshot that ends at `last` replaced state machine and log."""


class SnapshotInstaller:
    """Replaces one member's state and log."""

    def __init__(
        self,
        core: Follower,
        machine: Machine,
        journal: Journal,
        compaction: Compaction,
        worker: Worker,
        no_turns: Callable[[], AbstractAsyncContextManager[None]],
        installed: Callable[[], None],
    ) -> None:
        """`no_turns`: a context in which no turn runs and the journal is not flushed. `installed`
        is called when the state was replaced.
        """
        self._core = core
        self._machine = machine
        self._journal = journal
        self._compaction = compaction
        self._worker = worker
        self._no_turns = no_turns
        self._installed = installed

    async def install(self, snapshot: Received) -> bool:
        """Install the snapshot if it is newer than the commit index; returns whether it was
        installed. Raises SnapshotError if it is unusable; nothing has changed then.
        """
        if snapshot.index <= self._core.commit_index:
            return False
        run = self._worker.run
        try:
            prepared = await run(partial(self._machine.prepare, snapshot.directory))
        except CheckpointError as error:
            raise SnapshotError(str(error)) from error
        if prepared.position.index < snapshot.index:
            # Checked before the commit: no start would get past a state that ends before the log.
            await run(prepared.discard)
            ends = prepared.position.index
            raise SnapshotError(f"the snapshot ends at {ends}, not at {snapshot.index}")
        async with self._no_turns():
            newer = snapshot.index > self._core.commit_index
            if newer:
                await run(prepared.commit)
                prepared.install()
                last, before = self._machine.positions()
                reconcile(self._journal, last, before)
                self._core.installed(last)
                self._compaction.at = last.index
                self._installed()
                await run(self._journal.settle)
        await run(prepared.release if newer else prepared.discard)
        return newer
