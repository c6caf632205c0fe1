"""Names and bytes of segments."""

from __future__ import annotations

import pytest

from rusd.backup.archive.names import SegmentNames, fingerprint, named
from rusd.backup.archive.segment import PIECE, entries, pieces
from rusd.backup.errors import SnapshotError
from rusd.raft.ports import LogEntry

BACKUP = "rusd-000000000000000c-20261126T125005Z-r1234.db"
ENTRIES: list[LogEntry] = [
    (b"\0first", 7, 2),
    (b"", 8, 2),
    (bytes(PIECE), 9, 3),
    (b"\0last", 10, 3),
]
NAMES = SegmentNames(0xC, 1)


def file(backup: str = BACKUP) -> bytes:
    return b"".join(pieces(backup, ENTRIES))


def test_a_segment_is_read_as_it_was_written() -> None:
    assert list(entries(memoryview(file()), BACKUP)) == ENTRIES
    assert len(list(pieces(BACKUP, ENTRIES))) == 2, "not all of it is in memory"


@pytest.mark.parametrize("at", [0, 8, 12, 20, 80, 200, PIECE, -40, -33, -32, -1])
def test_a_changed_byte_anywhere_is_found(at: int) -> None:
    damaged = bytearray(file())
    damaged[at] ^= 1
    with pytest.raises(SnapshotError):
        list(entries(memoryview(damaged), BACKUP))


@pytest.mark.parametrize("length", [0, 1, 8, 31, 40, 100, PIECE, -32, -1])
def test_a_part_of_a_segment_is_never_taken_for_the_whole(length: int) -> None:
    with pytest.raises(SnapshotError):
        list(entries(memoryview(file()[:length]), BACKUP))


def test_a_segment_of_another_backup_is_refused() -> None:
    with pytest.raises(SnapshotError, match="another backup"):
        list(entries(memoryview(file(BACKUP.replace("r1234", "r1235"))), BACKUP))


def test_names_are_read_back_and_those_of_others_are_not() -> None:
    segment = named(BACKUP, 6, 7, 10, fingerprint(ENTRIES[-1]))
    assert segment.name.startswith("rusd-000000000000000c-20261126T125005Z-r1234-b6-7-10-")
    assert NAMES.parse(segment.name) == segment
    assert SegmentNames(0xD, 1).parse(segment.name) is None
    for wrong in (BACKUP, segment.name + "x", segment.name.replace("-b6-", "-b06-"), NAMES.partial):
        assert NAMES.parse(wrong) is None
    assert NAMES.parse(named(BACKUP, 7, 7, 10, "0" * 16).name) is None
    assert NAMES.parse(named(BACKUP, 6, 9, 8, "0" * 16).name) is None


def test_entries_of_other_logs_have_other_fingerprints() -> None:
    found = {fingerprint(each) for each in ((b"a", 1, 1), (b"a", 1, 2), (b"a", 2, 1), (b"b", 1, 1))}
    assert len(found) == 4
