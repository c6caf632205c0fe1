"""The write-ahead log of etcd: what it holds, and what damage does to it."""

from __future__ import annotations

import pytest

from rusd.etcd_wal import Entry, Segment, WalError, read_log
from tests.support.etcd_wal import entry, segments, snapshot, state

#: Two segments, two terms, an overwritten entry, and a value that spans several sectors.
PARTS = (
    [
        snapshot(0, 0),
        entry(1, 1, b"\x08\x01", kind=1),
        entry(2, 1),
        state(1, 2),
        entry(3, 1, b"a" * 20),
        entry(4, 1, b"lost" * 4),
        state(1, 3),
    ],
    [
        state(1, 3),
        entry(4, 2),
        state(2, 3),
        entry(5, 2, b"b" * 600),
        entry(6, 2, b"c"),
        state(2, 5),
        entry(7, 2, b"d" * 40),
    ],
)
LOG = segments(*PARTS)


def entries(log: list[Segment], after: int = 0) -> list[Entry]:
    return list(read_log(log, after).entries())


WHOLE = entries(LOG)
#: The entries as the first segment has them.
BEFORE = entries(LOG[:1])


def replaced(segment: int, content: bytes, log: list[Segment] = LOG) -> list[Segment]:
    changed = [*log]
    changed[segment] = Segment(log[segment].name, memoryview(content))
    return changed


def test_an_entry_replaces_the_one_of_its_index_and_all_above() -> None:
    assert [(one.index, one.term) for one in WHOLE] == [
        *((1, 1), (2, 1), (3, 1), (4, 2)),
        *((5, 2), (6, 2), (7, 2)),
    ]
    assert WHOLE[0].is_request is False
    assert WHOLE[4].data == b"b" * 600


def test_only_what_follows_the_index_is_given() -> None:
    log = read_log(LOG, 5)
    assert [one.index for one in log.entries()] == [6, 7]
    assert (log.term_after, log.last_index, log.last_term) == (2, 7, 2)
    assert (log.term, log.commit) == (2, 5)
    assert entries(LOG, 7) == []
    assert entries(LOG[1:], 4) == WHOLE[4:]


def test_a_log_that_lacks_entries_is_refused() -> None:
    for after, log in ((8, LOG), (1, LOG[1:]), (0, LOG[1:]), (0, [])):
        with pytest.raises(WalError):
            read_log(log, after)
    for parts in (
        [entry(1, 1), entry(3, 1), state(1, 1)],
        [entry(1, 1), state(1, 2)],
        [entry(1, 2), entry(2, 1), state(2, 1)],
        [entry(1, 2), state(1, 1)],
        [entry(1, 1), state(1, 1), state(1, 0)],
        [entry(1, 1), state(2, 1), state(1, 1)],
        [entry(1, 1, kind=3), state(1, 1)],
        [(6, b""), state(1, 0)],
        [(1, b"\x08\x08"), state(1, 0)],
    ):
        with pytest.raises(WalError):
            read_log(segments(parts), 0)


def test_a_log_goes_on_after_the_state_that_a_leader_sent() -> None:
    log = segments([entry(1, 1), state(1, 1), snapshot(9, 3), state(3, 9), entry(10, 3, b"x")])
    assert [one.index for one in entries(log, 9)] == [10]
    assert read_log(log, 9).snapshots == [9]
    with pytest.raises(WalError, match="what is between is missing"):
        read_log(log, 1)


@pytest.mark.parametrize("segment", range(2))
def test_a_flipped_bit_is_refused_or_changes_nothing(segment: int) -> None:
    content = bytes(LOG[segment].data)
    used = len(content.rstrip(b"\0"))
    refused = 0
    for position in range(used):
        for bit in range(8):
            changed = bytearray(content)
            changed[position] ^= 1 << bit
            try:
                found = entries(replaced(segment, bytes(changed)))
            except WalError:
                refused += 1
                continue
            assert found == WHOLE, (position, bit)
    assert refused > 7 * used


@pytest.mark.parametrize("segment", range(2))
def test_a_file_that_was_cut_gives_what_is_whole_or_is_refused(segment: int) -> None:
    content = bytes(LOG[segment].data).rstrip(b"\0")
    for size in range(len(content)):
        for zeros in (0, 640):
            cut = content[:size] + b"\0" * zeros
            try:
                found = entries(replaced(segment, cut))
            except WalError:
                continue
            assert segment == 1
            # (Entry 4 of the first term stands until it is replaced.)
            assert found in (BEFORE, WHOLE[: len(found)]), (size, zeros)


def test_a_record_of_which_a_sector_was_not_written_ends_the_log() -> None:
    last = segments([entry(1, 1, b"a"), state(1, 1), entry(2, 1, b"b" * 2000)])
    content = bytearray(last[0].data)
    start = content.index(b"b" * 100)
    sector = start - start % 512 + 512
    content[sector : sector + 512] = bytes(512)
    assert [one.index for one in entries(replaced(0, bytes(content), last))] == [1]
    # With a record behind it, it is no end.
    more = segments([entry(1, 1, b"a"), state(1, 1), entry(2, 1, b"b" * 2000), state(1, 2)])
    content = bytearray(more[0].data)
    content[sector : sector + 512] = bytes(512)
    with pytest.raises(WalError, match="records behind"):
        read_log(replaced(0, bytes(content), more), 0)


def test_noise_is_refused() -> None:
    for content in (b"", b"\0" * 100, b"\xff" * 4096, bytes(range(256)) * 40):
        with pytest.raises(WalError):
            read_log(replaced(0, content), 0)
        with pytest.raises(WalError):
            read_log(replaced(0, content)[:1], 0)
