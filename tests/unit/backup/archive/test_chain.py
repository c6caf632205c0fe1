"""Which segments continue a backup, and which entries a restore applies."""

from __future__ import annotations

import pytest

from rusd.backup.archive.chain import Chain, continued, orphans, reach, without_gap
from rusd.backup.archive.names import Segment, named
from rusd.backup.errors import SnapshotError
from rusd.raft.ports import Position

OLD = "rusd-000000000000000c-20261126T100000Z-r5.db"
NEW = "rusd-000000000000000c-20261126T110000Z-r50.db"


def segment(first: int, last: int, backup: str = NEW, base: int = 10) -> Segment:
    return named(backup, base, first, last, f"{last:016x}")


def test_a_chain_reaches_as_far_as_no_index_is_missing() -> None:
    whole = [segment(13, 20), segment(11, 12), segment(15, 25)]
    assert reach(NEW, whole) == Chain(NEW, 10, 25)
    assert reach(NEW, [*whole, segment(27, 30)]) == Chain(NEW, 10, 25)
    assert reach(NEW, [segment(12, 20)]) == Chain(NEW, 10, 10)
    assert reach(NEW, [segment(11, 12), segment(13, 20, base=9)]) == Chain(NEW, 10, 12)


def test_a_log_continues_the_newest_chain_whose_last_entry_it_holds() -> None:
    segments = [segment(11, 20), segment(6, 30, OLD, 5)]
    both = {OLD, NEW}
    assert continued(both, segments, lambda _: True) == Chain(NEW, 10, 20)
    assert continued(both, segments, lambda each: each.last == 30) == Chain(OLD, 5, 30)
    assert continued(both, segments, lambda _: False) is None
    assert continued({OLD}, segments, lambda _: True) == Chain(OLD, 5, 30)
    assert continued(set(), segments, lambda _: True) is None
    assert continued(both, [segment(11, 12), segment(14, 20)], lambda _: True) is None
    assert continued(both, segments[1:], lambda _: True) is None
    assert continued(both, [segment(9, 9), *segments[1:]], lambda _: True) == Chain(NEW, 10, 10)
    assert continued(both, [segment(9, 9), segments[0]], lambda _: True) == Chain(NEW, 10, 20)
    assert continued(both, [segment(9, 9), segment(12, 20)], lambda _: True) is None


def test_segments_go_with_their_backup() -> None:
    segments = [segment(11, 20), segment(6, 30, OLD, 5)]
    assert orphans({NEW}, segments) == segments[1:]
    assert orphans({NEW, OLD}, segments) == []


def test_each_entry_is_applied_once_and_none_that_the_backup_has() -> None:
    entries = [(b"", index, 1) for index in (2, 3, 4, 5, 4, 5, 6)]
    assert [index for _, index, _ in without_gap(Position(3, 1), entries)] == [4, 5, 6]


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ([(4, 2), (7, 2)], "a gap: no entries 5 to 6"),
        ([(5, 2)], "a gap: no entries 4 to 4"),
        ([(3, 1), (4, 2)], "entry 3 is of another log: term 1, and 2"),
        ([(4, 2), (4, 3)], "entry 4 is of another log: term 3, and 2"),
        ([(4, 3), (5, 2)], "entry 5 has term 2, below term 3"),
        ([(4, 1)], "entry 4 has term 1, below term 2"),
    ],
)
def test_a_gap_and_a_term_that_does_not_fit_are_refused(
    entries: list[tuple[int, int]], told: str
) -> None:
    with pytest.raises(SnapshotError, match=told):
        list(without_gap(Position(3, 2), [(b"", index, term) for index, term in entries]))


def test_entries_of_two_logs_are_refused_though_their_terms_are_equal() -> None:
    with pytest.raises(SnapshotError, match="entry 4 is of another log"):
        list(without_gap(Position(3, 1), [(b"a", 4, 1), (b"b", 4, 1)]))
