"""The durable Raft log: PySyncObj's Journal interface over checksummed segments.

PySyncObj adds, truncates and votes through the methods it knows; they change memory and append
records to a buffer. `flush` writes that buffer and makes it durable, with one fdatasync for all of
a loop turn: log entries, term, vote and truncation are one stream and cannot disagree. Nothing
that asserts durability (an acknowledgement, a vote) may leave before `flush`; `RaftNode` sees to
that. Entries stay in memory too, bounded by compaction.

Remedies of the PySyncObj hazards in this room: its own journal is not durable (7-9), trusts the
commit index of a lost log (10), and hands out unbounded slices (26).
"""

from collections.abc import Sequence
from pathlib import Path

from pysyncobj.journal import Journal as PySyncObjJournal

from rusd.raft import records
from rusd.raft.records import Damaged, Kind
from rusd.raft.segments import JournalCorrupt, JournalError, JournalLocked, Segments

__all__ = ["Journal", "JournalCorrupt", "JournalError", "JournalLocked", "LogEntry"]

#: (command, index, term), as PySyncObj keeps them.
LogEntry = tuple[bytes, int, int]

SEGMENT_BYTES = 16 << 20
#: An open-ended slice stops behind this many bytes of commands, but never before two entries: by
#: the second one PySyncObj sees that a conflict must be truncated.
SLICE_BYTES = 4 << 20


class Journal(PySyncObjJournal):  # type: ignore[misc]
    """The log of one member; one open at a time for a directory."""

    def __init__(
        self, directory: Path, *, segment_bytes: int = SEGMENT_BYTES, fsync: bool = True
    ) -> None:
        """Open or create. Raises JournalLocked or JournalCorrupt."""
        self._segments = Segments(directory, segment_bytes, fsync)
        self._entries: list[LogEntry] = []
        self._term = 0
        self._vote = ""
        self._commit = 1
        self._flush = 0
        self._buffer: list[bytes] = []
        #: Segment number -> highest entry index in it.
        self._highest: dict[int, int] = {}
        #: Bytes of all commands held.
        self.size = 0
        #: Last index that `flush` made durable.
        self.durable_index = 0
        #: While True an open-ended slice gives one entry only: PySyncObj then finds nothing
        #: behind the entry it asks for, and truncates nothing (hazard 3).
        self.shield = False
        self._recover()

    # Recovery

    def _recover(self) -> None:
        numbers = self._segments.numbers
        if not numbers:
            self._segments.create()
            self._head()
            return
        base = 0
        for number in list(numbers):
            data = self._segments.read(number)
            self._highest[number] = 0
            for item in records.read(data, self._flush):
                if isinstance(item, Damaged):
                    if item.corrupt or number != numbers[-1]:
                        path = self._segments.path(number)
                        raise JournalCorrupt(f"{path} is damaged at offset {item.offset}")
                    break
                base = self._replay(item.kind, item.body, number, base)
                self._flush = item.flush
            else:
                if number != numbers[-1] and not self._highest[number] and not data.strip(b"\0"):
                    raise JournalCorrupt(f"{self._segments.path(number)} is empty")
            if number == numbers[-1]:
                self._segments.resume(records.used(data))
        if base and self.first_index not in range(1, base + 1):
            path = self._segments.path(numbers[0])
            raise JournalCorrupt(f"entry {base} is missing: it lies before {path}")
        if self._entries and self._entries[0][1] < base:
            del self._entries[: base - self._entries[0][1]]
        self.size = sum(len(command) for command, _, _ in self._entries)
        self.durable_index = self.last_index
        self._head()

    def _replay(self, kind: int, body: bytes, number: int, base: int) -> int:
        """Apply one record to memory; returns the base index known so far."""
        if kind == Kind.ENTRY:
            entry = records.parse_entry(body)
            if self._entries and entry[1] != self._entries[-1][1] + 1:
                path = self._segments.path(number)
                raise JournalCorrupt(
                    f"{path}: entry {entry[1]} follows entry {self._entries[-1][1]}"
                )
            self._entries.append(entry)
            self._highest[number] = max(self._highest[number], entry[1])
        elif kind == Kind.HARD_STATE:
            self._term, self._vote = records.parse_hard_state(body)
        elif kind == Kind.TRUNCATE:
            at = records.parse_index(body)
            if self._entries and at <= self._entries[-1][1]:
                del self._entries[max(0, at - self._entries[0][1]) :]
        elif kind == Kind.BASE:
            base = max(base, records.parse_index(body))
        elif kind == Kind.CLEAR:
            self._entries.clear()
            base = 0
        return base

    def _head(self) -> None:
        """What every segment begins with, so that older ones can go."""
        self._highest.setdefault(self._segments.numbers[-1], 0)
        self._record(Kind.HARD_STATE, records.hard_state(self._term, self._vote))
        if self._entries:
            self._record(Kind.BASE, records.index(self._entries[0][1]))

    def _record(self, kind: Kind, body: bytes) -> None:
        self._buffer.append(records.encode(kind, body, self._flush + 1, not self._buffer))

    # Ours

    @property
    def first_index(self) -> int:
        return self._entries[0][1] if self._entries else 0

    @property
    def last_index(self) -> int:
        return self._entries[-1][1] if self._entries else 0

    @property
    def dirty(self) -> bool:
        """True while something awaits `flush`."""
        return bool(self._buffer)

    def term_at(self, index: int) -> int | None:
        """Term of the entry at `index`, None if the log does not hold it."""
        at = index - self.first_index
        if not self._entries or not 0 <= at < len(self._entries):
            return None
        return self._entries[at][2]

    def index_keeping(self, size: int) -> int:
        """The first index from which on the log holds at most `size` bytes of commands."""
        for command, index, _ in reversed(self._entries):
            size -= len(command)
            if size < 0:
                return index + 1
        return self.first_index

    def entries(self, start: int, end: int) -> Sequence[LogEntry]:
        """Entries with start <= index < end."""
        first = self.first_index
        return self._entries[max(0, start - first) : max(0, end - first)]

    def flush(self) -> bool:
        """Make everything so far durable; False if there was nothing to do.

        Any exception means the log's state on disk is unknown: the process must end.
        """
        if not self._buffer:
            return False
        self._segments.append(b"".join(self._buffer))
        self._buffer.clear()
        self._flush += 1
        self.durable_index = self.last_index
        number = self._segments.numbers[-1]
        self._highest[number] = max(self._highest[number], self.last_index)
        if self._segments.full:
            self._segments.create()
            self._head()
        return True

    def compact(self, first: int) -> None:
        """Forget entries below index `first` (two entries stay at least): record it durably, then
        remove the segments that hold nothing else."""
        drop = min(first - self.first_index, len(self._entries) - 2)
        if drop <= 0:
            return
        self.size -= sum(len(command) for command, _, _ in self._entries[:drop])
        del self._entries[:drop]
        self._record(Kind.BASE, records.index(self.first_index))
        self.flush()
        self._remove_segments()

    def seat(self, before: LogEntry, last: LogEntry) -> None:
        """Replace the whole log by two entries, the newest that a state already holds."""
        self.clear()
        for command, index, term in (before, last) if before[1] < last[1] else (last,):
            self.add(command, index, term)
        self.flush()
        self._remove_segments()

    def _remove_segments(self) -> None:
        numbers = self._segments.numbers
        while len(numbers) > 1 and self._highest[numbers[0]] < self.first_index:
            number = numbers[0]
            self._segments.remove(number)
            del self._highest[number]

    def close(self) -> None:
        """Release the directory; what was not flushed is gone."""
        self._segments.close()

    # What PySyncObj calls

    def add(self, command: bytes, idx: int, term: int) -> None:
        if self._entries and idx != self._entries[-1][1] + 1:
            raise JournalError(f"entry {idx} added behind entry {self._entries[-1][1]}")
        self._entries.append((command, idx, term))
        self.size += len(command)
        self._record(Kind.ENTRY, records.entry(idx, term, command))

    def clear(self) -> None:
        self._entries.clear()
        self.size = 0
        self._highest = dict.fromkeys(self._highest, 0)
        self._record(Kind.CLEAR, b"")

    def deleteEntriesFrom(self, entryFrom: int) -> None:
        """Cut the log from position `entryFrom` (counted from its first entry) on."""
        gone = self._entries[entryFrom:]
        if not gone:
            return
        del self._entries[entryFrom:]
        self.size -= sum(len(command) for command, _, _ in gone)
        self._record(Kind.TRUNCATE, records.index(gone[0][1]))
        self.durable_index = min(self.durable_index, self.last_index)

    def deleteEntriesTo(self, entryTo: int) -> None:
        raise JournalError("PySyncObj's log compaction is off; use compact")

    def __getitem__(self, item: int | slice) -> LogEntry | list[LogEntry]:
        if isinstance(item, int) or item.stop is not None:
            return self._entries[item]
        start: int = item.start
        if self.shield:
            return self._entries[start : start + 1]
        end, size = start, 0
        while end < len(self._entries) and (size < SLICE_BYTES or end - start < 2):
            size += len(self._entries[end][0])
            end += 1
        return self._entries[start:end]

    def __len__(self) -> int:
        return len(self._entries)

    def _destroy(self) -> None:
        self.close()

    def setRaftCommitIndex(self, raftCommitIndex: int) -> None:
        """Kept in memory only: a restarted member learns it again from the leader."""
        self._commit = raftCommitIndex

    def getRaftCommitIndex(self) -> int:
        return self._commit

    def setCurrentTerm(self, term: int, votedForNodeId: str | None) -> None:
        self._term, self._vote = term, votedForNodeId or ""
        self._record(Kind.HARD_STATE, records.hard_state(term, self._vote))

    def getCurrentTerm(self) -> int:
        return self._term

    def getVotedForNodeId(self) -> str | None:
        return self._vote or None
