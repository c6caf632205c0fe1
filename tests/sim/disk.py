"""The journal's disk: what was not flushed is lost in a crash, or written in part."""

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

from rusd.raft.log.journal import Journal

if TYPE_CHECKING:
    from tests.sim.member import Host

#: Small, so that segments come and go.
SEGMENT = 8 << 10
SECTOR = 64


class SimJournal(Journal):
    """rusd's journal, watched."""

    #: The host whose node is being made.
    host: "Host"

    def __init__(self, directory: Path, *, fsync: bool = True) -> None:
        # Real files on a file system in memory: what is written is "on the disk", no sooner.
        super().__init__(directory, segment_bytes=SEGMENT, fsync=False)
        self._host = SimJournal.host
        self._host.journal = self
        self._host.world.invariants.durable(self._host, self, self.first_index)
        self._first_new = self.last_index + 1
        self.durable = (self.getCurrentTerm(), self.getVotedForNodeId())

    def add(self, command: bytes, idx: int, term: int) -> None:
        super().add(command, idx, term)
        self._first_new = min(getattr(self, "_first_new", idx), idx)

    def flush(self) -> bool:
        host = getattr(self, "_host", None)
        if host is None:
            return super().flush()
        if self.dirty and host.disk_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done = super().flush()
        self.durable = (self.getCurrentTerm(), self.getVotedForNodeId())
        self.flush_seconds = host.flush_takes
        if done:
            host.world.invariants.durable(host, self, self._first_new)
            self._first_new = self.last_index + 1
            host.flushed()
        return done

    def crash(self) -> None:
        """The process is gone; what was being written may be there in part."""
        chance = self._host.chance
        pending = b"".join(self._buffer)
        segments = self._segments
        if pending and segments._file is not None and chance.random() < 0.6:
            if chance.random() < 0.5:
                pending = pending[: chance.randint(0, len(pending))]
                os.pwrite(segments._file, pending, segments._offset)
            else:  # sectors in any order
                for at in range(0, len(pending), SECTOR):
                    if chance.random() < 0.5:
                        part = pending[at : at + SECTOR]
                        os.pwrite(segments._file, part, segments._offset + at)
        self.close()
