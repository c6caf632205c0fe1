"""Any use of the log, ended by any torn write: what was flushed is there, and nothing invented.

Hypothesis drives a journal with tiny segments beside a model in memory. A crash keeps any part of
the last write, sector by sector, as a disk does that lost power in the middle of it.
"""

import shutil
import tempfile
import zlib
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from rusd.raft.log import records
from rusd.raft.log.journal import Journal, LogEntry

SEGMENT = 2048
SECTOR = 128

#: Everything a restart must bring back: entries, term, vote.
State = tuple[tuple[LogEntry, ...], int, str | None]


def used(path: Path) -> int:
    seed = zlib.crc32((path.parent / "LOCK").read_bytes()[:16])
    found = records.read(path.read_bytes(), None, seed)
    return max((item.end for item in found if isinstance(item, records.Record)), default=0)


class JournalModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="journal-"))
        self.journal = Journal(self.directory, segment_bytes=SEGMENT, fsync=False)
        self.entries: list[LogEntry] = []
        self.term = 0
        self.vote: str | None = None
        #: States since the last flush, the flushed one first.
        self.states: list[State] = [self.state()]

    def state(self) -> State:
        return tuple(self.entries), self.term, self.vote

    def found(self) -> State:
        journal = self.journal
        entries = tuple(journal.entries(0, 1 << 60))
        return entries, journal.getCurrentTerm(), journal.getVotedForNodeId()

    def flushed(self) -> None:
        self.states = [self.state()]

    @initialize()
    def sentinel(self) -> None:
        self.add(1, 2)
        self.flush()

    @rule(count=st.integers(1, 4), size=st.integers(0, 400))
    def add(self, count: int, size: int) -> None:
        for _ in range(count):
            index = self.entries[-1][1] + 1 if self.entries else 1
            one = (b"\x00" + b"%d" % index + bytes(size), index, self.term)
            self.journal.add(*one)
            self.entries.append(one)
            self.states.append(self.state())

    @rule(vote=st.sampled_from(["a", "b"]))
    def campaign(self, vote: str) -> None:
        self.term, self.vote = self.term + 1, vote
        self.journal.setCurrentTerm(self.term, vote)
        self.states.append(self.state())

    @rule(keep=st.integers(1, 10))
    def truncate(self, keep: int) -> None:
        """All but a few entries at the end stay."""
        at = max(2, len(self.entries) - keep)
        if at < len(self.entries):
            self.journal.deleteEntriesFrom(at)
            del self.entries[at:]
            self.states.append(self.state())

    @rule()
    def flush(self) -> None:
        self.journal.flush()
        self.flushed()
        assert self.journal.durable_index == self.entries[-1][1]

    @rule(keep=st.integers(2, 12))
    def compact(self, keep: int) -> None:
        first = self.entries[max(0, len(self.entries) - keep)][1]
        dropped = len(self.entries) - keep
        self.journal.compact(first)
        if dropped > 0:
            del self.entries[:dropped]
            self.flushed()

    @rule(ahead=st.integers(0, 50))
    def seat(self, ahead: int) -> None:
        index = self.entries[-1][1] + ahead
        before, last = (b"\x01", index, self.term), (b"\x01", index + 1, self.term)
        self.journal.reset_to(before, last)
        self.journal.settle()
        self.entries = [before, last]
        self.flushed()

    @rule()
    def reopen(self) -> None:
        """Killed before the flush: all that was not flushed is gone."""
        self.restart()
        assert self.found() == self.states[0]
        self.flushed()

    @rule(data=st.data())
    def lose_power_while_flushing(self, data: st.DataObject) -> None:
        *_, segment = sorted(self.directory.glob("*.wal"))
        start, lock = used(segment), (self.directory / "LOCK").read_bytes()
        self.journal.flush()
        if sorted(self.directory.glob("*.wal"))[-1] != segment:
            self.flushed()  # a new segment is begun only after the old one is durable
            self.restart()
            assert self.found() == self.states[0]
            return
        end = used(segment)
        sectors = range(start // SECTOR, -(-end // SECTOR))
        lost = data.draw(st.sets(st.sampled_from(sectors)) if sectors else st.just(set()))
        with segment.open("r+b") as file:
            for sector in lost:
                first = max(start, sector * SECTOR)
                file.seek(first)
                file.write(bytes(max(0, min(end, (sector + 1) * SECTOR) - first)))
        if lost:
            (self.directory / "LOCK").write_bytes(lock)  # the mark is set behind the flush
        self.restart()
        found = self.found()
        assert found in self.states if lost else found == self.states[-1]
        self.entries, self.term, self.vote = list(found[0]), found[1], found[2]
        self.flushed()

    def restart(self) -> None:
        self.journal.close()
        self.journal = Journal(self.directory, segment_bytes=SEGMENT, fsync=False)
        entries, self.term, self.vote = self.found()
        self.entries = list(entries)

    @invariant()
    def memory_holds_what_was_asked_for(self) -> None:
        assert self.found() == self.state()
        assert self.journal.size == sum(len(command) for command, _, _ in self.entries)

    def teardown(self) -> None:
        self.journal.close()
        shutil.rmtree(self.directory)


TestAnyUseOfTheLog = JournalModel.TestCase
TestAnyUseOfTheLog.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
