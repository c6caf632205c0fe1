"""When revisions were made, as far as it was noted: what is answered, kept and forgotten."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from rusd.console.revision_times import (
    SPANS,
    Found,
    RevisionTimes,
    Span,
    encoded,
    load,
    store,
)

DAY = 86_400_000


def noted(*notes: tuple[int, int]) -> RevisionTimes:
    times = RevisionTimes()
    for now, revision in notes:
        times.note(now, revision)
    return times


TIMES = noted((1000, 5), (2000, 5), (3000, 9), (4000, 10), (6000, 10))


@pytest.mark.parametrize(
    ("time", "found"),
    [
        (999, Found(end=1000)),
        (1000, Found(5, 5, 1000, 2000)),
        (2000, Found(5, 5, 1000, 2000)),
        (2500, Found(5, 9, 2000, 3000)),
        (3000, Found(9, 9, 3000, 3000)),
        (3001, Found(9, 10, 3000, 4000)),
        (5000, Found(10, 10, 4000, 6000)),
        (10**18, Found(10, 10, 4000, 6000)),
    ],
)
def test_a_moment_has_a_revision_or_lies_between_two(time: int, found: Found) -> None:
    assert TIMES.at(time) == found


@pytest.mark.parametrize(
    ("revision", "found"),
    [
        (1, Found(1, 1, None, 1000)),
        (5, Found(5, 5, None, 1000)),
        (6, Found(6, 6, 2000, 3000)),
        (9, Found(9, 9, 2000, 3000)),
        (10, Found(10, 10, 3000, 4000)),
        (11, Found(11)),
    ],
)
def test_a_revision_was_made_between_two_notes(revision: int, found: Found) -> None:
    assert TIMES.of(revision) == found


def test_nothing_is_known_before_the_first_note() -> None:
    assert RevisionTimes().at(5) == Found()
    assert RevisionTimes().of(5) == Found(5)
    assert RevisionTimes().oldest is None


def in_order(times: RevisionTimes) -> bool:
    flat = [moment for span in times.spans for moment in (span.first, span.last)]
    revisions = [span.revision for span in times.spans]
    return flat == sorted(flat) and revisions == sorted(set(revisions))


@pytest.mark.parametrize("seed", range(20))
def test_whatever_the_clock_and_the_store_do_spans_stay_in_order_and_few(seed: int) -> None:
    luck = random.Random(seed)
    times, now, revision = RevisionTimes(), 10**12, 1
    for _ in range(5000):
        now += luck.choice((2000, 2000, 2000, 0, 600_000, -5000, -(10**7)))
        revision += luck.choice((0, 1, 1, 1, 1000, -3)) if luck.random() < 0.99 else -500
        times.note(now, max(1, revision))
        assert len(times.spans) <= SPANS
    assert in_order(times)


def test_years_fit_with_gaps_that_are_a_small_part_of_their_age() -> None:
    times, now, revision = RevisionTimes(), 0, 0
    step = 3_600_000  # a note of a new revision every hour, for 5 years
    while now < 5 * 365 * DAY:
        now, revision = now + step, revision + 1
        times.note(now, revision)
    assert len(times.spans) <= SPANS and in_order(times)
    assert times.oldest == step
    for days in (1, 30, 365, 1500):
        found = times.at(now - days * DAY)
        assert found.begin is not None and found.end is not None
        assert found.end - found.begin < days * DAY / 32 + step
        assert found.revision is not None and found.next_revision is not None
        right = (now - days * DAY) // step
        assert found.revision <= right <= found.next_revision
    assert times.at(now - 60_000).revision == revision - 1


def test_a_store_that_took_over_other_data_forgets_later_revisions() -> None:
    times = noted((1000, 5), (2000, 9), (3000, 7))
    assert times.spans == [Span(1000, 1000, 5), Span(3000, 3000, 7)]


def test_the_file_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "revision-times"
    store(path, encoded(TIMES, 7))
    assert load(path, 7, 10, 10**15).spans == TIMES.spans
    assert [name.name for name in tmp_path.iterdir()] == ["revision-times"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_does_not_fit_the_store_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "revision-times"
    store(path, encoded(TIMES, 7))
    assert load(path, 8, 10, 10**15).spans == [], "another cluster's"
    assert load(path, 7, 9, 10**15).spans == TIMES.spans[:2], "revisions that the store lacks"
    assert load(path, 7, 10, 3500).spans == TIMES.spans[:2], "of the future"
    assert load(tmp_path / "none", 7, 10, 10**15).spans == []


def test_a_damaged_file_is_as_good_as_none(tmp_path: Path) -> None:
    path = tmp_path / "revision-times"
    good = encoded(TIMES, 7)
    for cut in range(len(good)):
        path.write_bytes(good[:cut])
        assert load(path, 7, 10, 10**15).spans == []
        path.write_bytes(good[:cut] + bytes((good[cut] ^ 1,)) + good[cut + 1 :])
        assert load(path, 7, 10, 10**15).spans == []
    path.write_bytes(good + good)
    assert load(path, 7, 10, 10**15).spans == []
    path.unlink()
    path.mkdir()
    assert load(path, 7, 10, 10**15).spans == []
