"""Power lost at every step of beginning a segment: what was flushed is there again.

Every system call by which the journal writes is one step. What was written since the last sync of
a file is then lost, is there, or is there in part.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rusd.raft.log.journal import Journal, JournalCorrupt

SEGMENT = 512


class PowerLost(BaseException):
    """The machine is gone."""


class Disk:
    """Counts the steps of a journal, loses power at one of them, and then what was not synced."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps = 0
        self.lose_at = 1 << 60
        #: (file, offset, what was there before, what was written) since the last sync.
        self.unsynced: list[tuple[str, int, bytes, bytes]] = []
        pwrite, fdatasync, fsync = os.pwrite, os.fdatasync, os.fsync

        def write(file: int, data: bytes, offset: int) -> int:
            before = os.pread(file, len(data), offset).ljust(len(data), b"\0")
            self.unsynced.append((_path(file), offset, before, bytes(data)))
            self._step()
            return pwrite(file, data, offset)

        def syncing(sync: Callable[[int], None]) -> Callable[[int], None]:
            def call(file: int) -> None:
                self._step()
                sync(file)
                synced = _path(file)
                self.unsynced = [one for one in self.unsynced if one[0] != synced]

            return call

        monkeypatch.setattr(os, "pwrite", write)
        monkeypatch.setattr(os, "fdatasync", syncing(fdatasync))
        monkeypatch.setattr(os, "fsync", syncing(fsync))

    def _step(self) -> None:
        self.steps += 1
        if self.steps >= self.lose_at:
            raise PowerLost

    def settle(self, kept: float) -> None:
        """Of each write since the last sync the first part is kept."""
        for path, offset, before, data in self.unsynced:
            part = int(len(data) * kept)
            with open(path, "r+b") as file:
                file.seek(offset)
                file.write(data[:part] + before[part:])
        self.unsynced.clear()
        self.lose_at = 1 << 60


def _path(file: int) -> str:
    return os.readlink(f"/proc/self/fd/{file}")


def votes(journal: Journal) -> Iterator[int]:
    """Flush one vote after another until a third segment holds some; the term of each."""
    while journal._segments.numbers[-1] < 3 or journal._segments.marked < 3:
        term = journal.getCurrentTerm() + 1
        journal.setCurrentTerm(term, "a")
        journal.flush()
        yield term


@pytest.mark.parametrize("kept", [0.0, 0.5, 1.0])
def test_no_vote_is_lost_at_any_step_of_beginning_a_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: float
) -> None:
    disk = Disk(monkeypatch)
    whole = Journal(tmp_path / "whole", segment_bytes=SEGMENT)
    for _ in votes(whole):
        pass
    whole.close()
    steps = disk.steps
    assert steps > 30
    disk.unsynced.clear()
    for step in range(1, steps + 1):
        home = tmp_path / str(step)
        disk.steps, disk.lose_at, flushed = 0, step, 0
        journal = None
        try:
            journal = Journal(home, segment_bytes=SEGMENT)
            for term in votes(journal):
                flushed = term
        except PowerLost:
            disk.settle(kept)
        if journal is not None:
            journal.close()
        again = Journal(home, segment_bytes=SEGMENT)
        found = again.getCurrentTerm()
        assert flushed <= found <= flushed + 1
        again.setCurrentTerm(found + 1, "b")
        again.flush()
        again.close()
        # Whatever was flushed last is now known to be there: without it nothing is opened.
        last = again._segments.path(again._segments.marked)
        last.write_bytes(bytes(last.stat().st_size))
        with pytest.raises(JournalCorrupt, match=last.name):
            Journal(home, segment_bytes=SEGMENT)
        disk.unsynced.clear()
