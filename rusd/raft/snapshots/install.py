"""Installs the snapshot that a leader sends to a member which its log cannot bring up to date.

The stream is written and checked by `streams.py`. When it is whole and newer than what this member
knows to be committed, it replaces the state, then the log; the reply to the leader leaves after
both. Whatever fails in between ends the process; the next start finds one whole state.
"""

from typing import Protocol

from rusd.raft.log.compaction import Compaction
from rusd.raft.log.journal import Journal
from rusd.raft.log.reconcile import reconcile
from rusd.raft.ports import Machine, Position
from rusd.raft.snapshots.streams import CatchUp
from rusd.raft.transport.frames import Snapshot


class Follower(Protocol):
    """The core, as far as it has to know of a snapshot."""

    @property
    def commit_index(self) -> int:
        """Highest index known to be committed."""

    def installed(self, last: Position) -> None:
        """State machine and log were replaced by a snapshot that ends at `last`."""

    def acknowledge_snapshot(self, member: int, *, installed: bool) -> None:
        """A stream of the leader is over."""


class SnapshotInstaller:
    """One member's side of being sent a snapshot."""

    def __init__(
        self,
        core: Follower,
        machine: Machine,
        journal: Journal,
        streams: CatchUp,
        compaction: Compaction,
    ) -> None:
        self._core = core
        self._machine = machine
        self._journal = journal
        self._streams = streams
        self._compaction = compaction

    def receive(self, member: int, frame: Snapshot) -> bool:
        """Take a part of the leader's stream; returns whether a snapshot was installed."""
        complete = self._streams.receive(member, frame)
        if complete is None:
            return False
        newer = complete.index > self._core.commit_index
        if newer:
            self._machine.restore(complete.directory)
            last, before = self._machine.positions()
            if last.index < complete.index:
                raise RuntimeError(f"the snapshot ends at {last.index}, not at {complete.index}")
            reconcile(self._journal, last, before)
            self._core.installed(last)
            self._compaction.at = last.index
        self._streams.finished(member, frame.stream, installed=newer)
        self._core.acknowledge_snapshot(member, installed=newer)
        return newer
