"""The durable Raft log: PySyncObj's Journal interface over checksummed segments.

PySyncObj adds, truncates and votes through the methods it knows; they change memory and append
records to a buffer. `flush` writes that buffer and makes it durable, with one fdatasync for all of
a loop turn: log entries, term, vote and truncation are one stream and cannot disagree. Nothing
that asserts durability (an acknowledgement, a vote) may leave before `flush`; `RaftNode` sees to
that. Entries stay in memory too, bounded by compaction.

Remedies of the PySyncObj hazards in this room: its own journal is not durable (7-9), trusts the
commit index of a lost log (10), and hands out unbounded slices (26).
"""

import time
from collections.abc import Sequence
from pathlib import Path

from pysyncobj.journal import Journal as PySyncObjJournal

from rusd.raft.log import records
from rusd.raft.log.records import Kind
from rusd.raft.log.recovery import recover
from rusd.raft.log.segments import JournalCorrupt, JournalError, JournalLocked, Segments

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
        self.directory = directory
        self._segments = Segments(directory, segment_bytes, fsync)
        try:
            found = recover(self._segments)
            if self._segments.numbers:
                self._segments.resume(found.end)
            else:
                self._segments.create()
        except BaseException:
            self._segments.close()
            raise
        self._entries: list[LogEntry] = found.entries
        #: Index of the oldest and of the newest entry held; 0 if there is none. (Kept, not found
        #: out: both are asked for dozens of times a write.)
        self.first_index = self.last_index = 0
        self._note_bounds()
        self._term, self._vote = found.term, found.vote
        self._commit = 1
        self._flush = found.flush
        self._buffer: list[bytes] = []
        #: True while something awaits `flush`.
        self.dirty = False
        #: Segment number -> highest entry index in it.
        self._highest = found.highest
        self._failed = False
        #: Bytes of all commands held.
        self.size = sum(len(command) for command, _, _ in self._entries)
        #: Last index that `flush` made durable.
        self.durable_index = self.last_index
        #: What a flush takes, smoothed.
        self.flush_seconds = 0.0
        #: While True an open-ended slice gives one entry only: PySyncObj then finds nothing
        #: behind the entry it asks for, and truncates nothing (hazard 3).
        self.shield = False
        self._head()

    def _note_bounds(self) -> None:
        entries = self._entries
        self.first_index, self.last_index = (entries[0][1], entries[-1][1]) if entries else (0, 0)

    def _head(self) -> None:
        """Return the records that begin every segment, so that older segments can be removed."""
        self._highest.setdefault(self._segments.numbers[-1], 0)
        self._record(Kind.HARD_STATE, records.hard_state(self._term, self._vote))
        if self._entries:
            self._record(Kind.BASE, records.index(self._entries[0][1]))

    def _record(self, kind: Kind, head: bytes, rest: bytes = b"") -> None:
        first = not self._buffer
        seed = self._segments.seed
        self._buffer += records.encode(kind, self._flush + 1, first, seed, head, rest)
        self.dirty = True

    # Ours

    @property
    def segments(self) -> Segments:
        """The files, with what they measure."""
        return self._segments

    def term_at(self, index: int) -> int | None:
        """Return the term of the entry at `index`, None if the log does not hold it."""
        if not self.first_index <= index <= self.last_index or not index:
            return None
        return self._entries[index - self.first_index][2]

    def index_keeping(self, size: int) -> int:
        """Return the first index from which on the log holds at most `size` bytes of commands."""
        for command, index, _ in reversed(self._entries):
            size -= len(command)
            if size < 0:
                return index + 1
        return self.first_index

    def entries(self, start: int, end: int) -> Sequence[LogEntry]:
        """Return entries with start <= index < end."""
        first = self.first_index
        return self._entries[max(0, start - first) : max(0, end - first)]

    def entries_from(self, start: int) -> Sequence[LogEntry]:
        """Return entries with index >= start, as an open-ended slice (`SLICE_BYTES`)."""
        return self._slice(start - self.first_index) if start >= self.first_index else []

    def flush(self) -> bool:
        """Make everything so far durable; False if there was nothing to do.

        Any exception means the log's state on disk is unknown: the process must end. A second
        try would be refused: after a failed fdatasync the next one may succeed without the data.
        """
        if self._failed:
            raise JournalError("an earlier write to the journal failed")
        if not self._buffer:
            return False
        self._failed = True
        began = time.perf_counter()
        self._segments.append(b"".join(self._buffer))
        self.flush_seconds += (time.perf_counter() - began - self.flush_seconds) / 8
        self._buffer.clear()
        self.dirty = False
        self._flush += 1
        self.durable_index = self.last_index
        number = self._segments.numbers[-1]
        self._highest[number] = max(self._highest[number], self.last_index)
        if self._segments.full:
            self._segments.create()
            self._head()
        self._failed = False
        return True

    def compact(self, first: int) -> None:
        """Drop entries below index `first` (at least two entries stay): record it durably, then
        remove the segments without other entries.
        """
        drop = min(first - self.first_index, len(self._entries) - 2)
        if drop <= 0:
            return
        self.size -= sum(len(command) for command, _, _ in self._entries[:drop])
        del self._entries[:drop]
        self._note_bounds()
        self._record(Kind.BASE, records.index(self.first_index))
        self.settle()

    def reset_to(self, before: LogEntry, last: LogEntry) -> None:
        """Replace the whole log by two entries, the newest ones that the state contains. Durable
        after `settle`.
        """
        self.clear()
        for command, index, term in (before, last) if before[1] < last[1] else (last,):
            self.add(command, index, term)

    def settle(self) -> None:
        """Flush, then remove segments without entries. May run in a thread."""
        self.flush()
        self._remove_segments()

    def _remove_segments(self) -> None:
        numbers = self._segments.numbers
        while len(numbers) > 1 and self._highest[numbers[0]] < self.first_index:
            number = numbers[0]
            self._segments.remove(number)
            del self._highest[number]

    def close(self) -> None:
        """Release the directory; unflushed entries are lost."""
        self._segments.close()

    # What PySyncObj calls

    def add(self, command: bytes, idx: int, term: int) -> None:
        if not self._entries:
            self.first_index = idx
        elif idx != self.last_index + 1:
            raise JournalError(f"entry {idx} added behind entry {self.last_index}")
        self._entries.append((command, idx, term))
        self.last_index = idx
        self.size += len(command)
        self._record(Kind.ENTRY, records.entry_head(idx, term), command)

    def clear(self) -> None:
        self._entries.clear()
        self._note_bounds()
        self.size = self.durable_index = 0
        self._highest = dict.fromkeys(self._highest, 0)
        self._record(Kind.CLEAR, b"")

    def deleteEntriesFrom(self, entryFrom: int) -> None:
        """Truncate the log from position `entryFrom` (counted from its first entry) on."""
        gone = self._entries[entryFrom:]
        if not gone:
            return
        del self._entries[entryFrom:]
        self._note_bounds()
        self.size -= sum(len(command) for command, _, _ in gone)
        self._record(Kind.TRUNCATE, records.index(gone[0][1]))
        self.durable_index = min(self.durable_index, self.last_index)

    def deleteEntriesTo(self, entryTo: int) -> None:
        """Raises JournalError: PySyncObj's own compaction is off; `compact` replaces it."""
        raise JournalError("PySyncObj's log compaction is off; use compact")

    def __getitem__(self, item: int | slice) -> LogEntry | list[LogEntry]:
        if isinstance(item, int) or item.stop is not None:
            return self._entries[item]
        return self._slice(item.start or 0)

    def _slice(self, start: int) -> list[LogEntry]:
        entries = self._entries
        if self.shield or start + 1 >= len(entries):
            return entries[start : start + 1]
        end, size = start, 0
        while end < len(entries) and (size < SLICE_BYTES or end - start < 2):
            size += len(entries[end][0])
            end += 1
        return entries[start:end]

    def __len__(self) -> int:
        return len(self._entries)

    def _destroy(self) -> None:
        self.close()

    def setRaftCommitIndex(self, raftCommitIndex: int) -> None:
        """Set the commit index, in memory only: a restarted member learns it from the leader."""
        self._commit = raftCommitIndex

    def getRaftCommitIndex(self) -> int:
        """Return the commit index set last; it is not durable."""
        return self._commit

    def setCurrentTerm(self, term: int, votedForNodeId: str | None) -> None:
        """Set term and vote; durable after `flush`."""
        self._term, self._vote = term, votedForNodeId or ""
        self._record(Kind.HARD_STATE, records.hard_state(term, self._vote))

    def getCurrentTerm(self) -> int:
        """Return the current term."""
        return self._term

    def getVotedForNodeId(self) -> str | None:
        return self._vote or None
