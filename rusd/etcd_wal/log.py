"""The records of all segments to the entries of the log.

An entry replaces the one of the same index before it, and all above: a leader overwrites what an
earlier one did not commit. The checksum of a record does not cover its type, so the fields of every
record are checked against those before.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from rusd.etcd_wal.errors import WalError
from rusd.etcd_wal.fields import numbers, read_fields
from rusd.etcd_wal.records import (
    ENTRY,
    METADATA,
    SNAPSHOT,
    STATE,
    Record,
    Segment,
    read_records,
    record_at,
)

#: Types of entries: a request, and the two forms of a change of membership.
NORMAL: Final = 0
_TYPES: Final = range(3)


class Entry(NamedTuple):
    """One entry of the log."""

    index: int  # type: ignore[assignment]  # a tuple's method of that name is not wanted here
    term: int
    is_request: bool
    data: bytes


class _Place(NamedTuple):
    """Where an entry lies."""

    term: int
    segment: int
    start: int


class Log:
    """What a log holds above an index. See `read_log`."""

    def __init__(self, segments: Sequence[Segment], after: int) -> None:
        self._segments = segments
        self._places: list[_Place] = []
        #: Index that the entries follow.
        self.after = after
        #: Term of the entry at `after`; None if the log does not hold it.
        self.term_after: int | None = None
        self.last_index = 0
        self.last_term = 0
        #: Term and commit index that the member had made durable.
        self.term = 0
        self.commit = 0
        self.metadata: bytes | None = None
        #: Indexes of the snapshots that the log may begin with.
        self.snapshots: list[int] = []

    def __len__(self) -> int:
        return len(self._places)

    def entries(self) -> Iterator[Entry]:
        """Yield the entries above `after`. Raises WalError."""
        for place in self._places:
            segment = self._segments[place.segment]
            yield _entry(record_at(segment, place.start), segment)

    def _read(self) -> None:
        checksum = 0
        for number, segment in enumerate(self._segments):
            is_last = number == len(self._segments) - 1
            records = read_records(segment, checksum, is_last=is_last)
            began = False
            while True:
                try:
                    record = next(records)
                except StopIteration as end:
                    checksum = end.value
                    break
                began = True
                self._take(record, number)
            if not began:
                raise WalError(f"{segment.name}: damaged at 0: no record")

    def _take(self, record: Record, number: int) -> None:
        segment = self._segments[number]
        if record.type == ENTRY:
            self._take_entry(_entry(record, segment), number, record.start)
        elif record.type == STATE:
            term, _, commit = _numbers(record, segment, 1, 2, 3)
            if term < self.term or commit < self.commit:
                raise _damaged(segment, record, "term or commit index goes back")
            self.term, self.commit = term, commit
        elif record.type == METADATA:
            if record.data != (self.metadata or record.data):
                raise _damaged(segment, record, "of another member or cluster")
            self.metadata = record.data
        elif record.type == SNAPSHOT:
            self._take_snapshot(record, segment)
        elif record.start:
            raise _damaged(segment, record, f"record of type {record.type}")

    def _take_entry(self, entry: Entry, number: int, start: int) -> None:
        segment = self._segments[number]
        held = len(self._places)
        if self.last_index and not 0 < entry.index <= self.last_index + 1:
            raise WalError(f"{segment.name}: damaged at {start}: entry {entry.index} after a gap")
        if entry.index <= self.after:
            self._places.clear()
            if entry.index == self.after:
                self.term_after = entry.term
            before = self.last_term if entry.index == self.last_index + 1 else 0
        else:
            # (An empty log that begins above is noticed at the end.)
            first = self.last_index - held + 1 if held else entry.index
            del self._places[max(entry.index - first, 0) :]
            before = self._places[-1].term if self._places else self.term_after or 0
            self._places.append(_Place(entry.term, number, start))
        if entry.term < before:
            raise WalError(f"{segment.name}: damaged at {start}: term {entry.term} after {before}")
        self.last_index, self.last_term = entry.index, entry.term

    def _take_snapshot(self, record: Record, segment: Segment) -> None:
        try:
            fields = read_fields(record.data)
            index, term = fields.get(1, 0), fields.get(2, 0)
            if not isinstance(index, int) or not isinstance(term, int):
                raise ValueError("no snapshot")
        except ValueError as error:
            raise _damaged(segment, record, str(error)) from error
        self.snapshots.append(index)
        if index > self.last_index:
            # The leader sent its state: the entries up to there are not in this log.
            self._places.clear()
            self.last_index, self.last_term = index, term
            self.term_after = term if index == self.after else None

    def _check(self) -> None:
        """Raise WalError if entries are missing."""
        if self.metadata is None:
            raise WalError("the log does not say whose it is")
        if self.last_term > self.term:
            raise WalError(f"the log holds term {self.last_term}, but its member {self.term}")
        if self.commit > self.last_index:
            raise WalError(
                f"the log ends at index {self.last_index}, before its commit index {self.commit}"
            )
        if self.last_index < self.after:
            raise WalError(
                f"the log ends at index {self.last_index}, and the database is at {self.after}: "
                "they are not of the same time"
            )
        if self.last_index - len(self._places) != self.after:
            first = self.last_index - len(self._places) + 1
            raise WalError(
                f"the log begins at index {first}, and the database is at {self.after}: what is "
                "between is missing"
            )


def read_log(segments: Sequence[Segment], after: int) -> Log:
    """Return what the segments hold above index `after`. Raises WalError: they are damaged, or do
    not hold all entries from there.

    The segments must not change as long as the log is read.
    """
    log = Log(segments, after)
    log._read()
    log._check()
    return log


def _entry(record: Record, segment: Segment) -> Entry:
    try:
        fields = read_fields(record.data)
        kind, term, index = (fields.pop(number, 0) for number in (1, 2, 3))
        data = fields.pop(4, b"")
        if fields or not isinstance(data, bytes):
            raise ValueError("not an entry")
        if not isinstance(kind, int) or not isinstance(term, int) or not isinstance(index, int):
            raise ValueError("not an entry")
        if kind not in _TYPES or not term or not index:
            raise ValueError("not an entry")
    except ValueError as error:
        raise _damaged(segment, record, str(error)) from error
    return Entry(index, term, kind == NORMAL, data)


def _numbers(record: Record, segment: Segment, *wanted: int) -> list[int]:
    try:
        found = numbers(record.data, range(1, max(wanted) + 1))
    except ValueError as error:
        raise _damaged(segment, record, str(error)) from error
    return [found.get(number, 0) for number in wanted]


def _damaged(segment: Segment, record: Record, what: str) -> WalError:
    return WalError(f"{segment.name}: damaged at {record.start}: {what}")
