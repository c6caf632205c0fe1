"""Replays the segments of a journal when it is opened.

Records are replayed in order. A damaged record at the end of the last segment is a write that a
crash tore: nothing in it was acknowledged, so it is truncated. Any other inconsistency (a damaged
record before durable ones, a missing segment, a gap between entries) means that durable bytes were
lost. It raises JournalCorrupt, because a vote or an acknowledgement on such a log could lose
acknowledged entries.
"""

from dataclasses import dataclass, field

from rusd.base.logs import get_logger
from rusd.raft.log import records
from rusd.raft.log.records import Damaged, Kind, Record
from rusd.raft.log.segments import JournalCorrupt, Segments

log = get_logger(__name__)


@dataclass
class Recovered:
    """State of a journal at its last complete record."""

    #: (command, index, term) without gaps.
    entries: list[tuple[bytes, int, int]] = field(default_factory=list)
    term: int = 0
    vote: str = ""
    #: Number of the last flush; 0: none yet.
    flush: int = 0
    #: Segment number -> highest entry index in it, 0 if it holds no entries.
    highest: dict[int, int] = field(default_factory=dict)
    #: Entries below this index were compacted away; 0: none were since the log was last cleared.
    base: int = 0
    #: Offset in the last segment behind the last complete record.
    end: int = 0


def recover(segments: Segments) -> Recovered:
    """Replay all segments. Raises JournalCorrupt, which names the file and the offset."""
    state = Recovered()
    numbers = segments.numbers
    for number in numbers:
        # The first segment may follow others that were removed.
        before = None if number == numbers[0] else state.flush
        data = segments.read(number)
        path = segments.path(number)
        state.highest[number] = state.end = 0
        for item in records.read(data, before, segments.seed):
            if isinstance(item, Damaged):
                if item.corrupt or number != numbers[-1]:
                    raise JournalCorrupt(f"{path} is damaged at offset {item.offset}")
                fields = {"file": str(path), "offset": item.offset}
                log.warning("cut a torn write off the journal", extra={"fields": fields})
                break
            try:
                _replay(state, item, number)
            except ValueError as error:
                raise JournalCorrupt(f"{path} at offset {item.offset}: {error}") from error
            state.flush, state.end = item.flush, item.end
        held = number <= segments.marked or number != numbers[-1] or 1 < number == numbers[0]
        if not state.end and held:
            # The mark names it, or the next segment was begun or the ones before it removed when it
            # held something.
            raise JournalCorrupt(f"{path} is empty")
    _trim(state, segments)
    return state


def _replay(state: Recovered, record: Record, number: int) -> None:
    """Apply one record. ValueError if it does not fit."""
    entries = state.entries
    if record.kind == Kind.ENTRY:
        entry = records.parse_entry(record.body)
        if entries and entry[1] != entries[-1][1] + 1:
            raise ValueError(f"entry {entry[1]} follows entry {entries[-1][1]}")
        entries.append(entry)
        state.highest[number] = max(state.highest[number], entry[1])
    elif record.kind == Kind.HARD_STATE:
        state.term, state.vote = records.parse_hard_state(record.body)
    elif record.kind == Kind.TRUNCATE:
        at = records.parse_index(record.body)
        if entries and at <= entries[-1][1]:
            del entries[max(0, at - entries[0][1]) :]
    elif record.kind == Kind.BASE:
        state.base = max(state.base, records.parse_index(record.body))
    elif record.kind == Kind.CLEAR:
        entries.clear()
        state.base = 0
    else:
        # Of a newer release: what it says cannot be left out.
        raise ValueError(f"unknown kind of record {record.kind}")


def _trim(state: Recovered, segments: Segments) -> None:
    """Drop entries that were compacted away but lie in a segment that is still needed."""
    base, entries = state.base, state.entries
    if not base:
        return
    path = segments.path(segments.numbers[0])
    if not entries or entries[0][1] > base:
        raise JournalCorrupt(f"entry {base} is missing: it lies before {path}")
    if entries[-1][1] < base:
        raise JournalCorrupt(f"entry {base} is missing: {path} and later end before it")
    del entries[: base - entries[0][1]]
