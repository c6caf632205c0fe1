"""When a backup is due, which are removed, when one is overdue."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rusd.backup.scheduled import Backup, Names, Retention, Schedule
from rusd.backup.scheduled.schedule import ABANDONED, DEMANDED, RETRY, Entry, abandoned

NAMES = Names(1, 2)
DAY = 24 * 3600
NOW = 1_800_000_000
ALL = Retention(None, None)


def backup(time: int, revision: int = 1) -> Backup:
    return NAMES.backup(time, revision)


def test_the_first_backup_is_due_at_once() -> None:
    assert Schedule(DAY, ALL).wait([], NOW) == 0


def test_the_interval_counts_from_the_newest_backup_that_is_found() -> None:
    schedule = Schedule(DAY, ALL)
    found = [backup(NOW - 100), backup(NOW - 5000)]
    assert schedule.wait(found, NOW) == DAY - 100
    assert schedule.wait(found, NOW + DAY - 100) == 0


def test_a_backup_of_a_clock_that_is_a_little_ahead_counts() -> None:
    assert Schedule(DAY, ALL).wait([backup(NOW + 60)], NOW) == DAY + 60


def test_a_backup_of_a_clock_that_is_far_ahead_delays_nothing() -> None:
    assert Schedule(DAY, ALL).wait([backup(NOW + DAY)], NOW) == 0


def test_a_failure_is_retried_after_an_interval_ten_minutes_at_most() -> None:
    for interval, retry in ((DAY, RETRY), (5, 5)):
        schedule = Schedule(interval, ALL)
        assert schedule.failed(NOW) == retry
        assert schedule.wait([], NOW) == retry
        assert schedule.wait([], NOW + retry) == 0


def test_a_backup_that_is_needed_early_follows_a_minute_after_the_last_one() -> None:
    schedule = Schedule(DAY, ALL)
    schedule.responsible(True, NOW)
    found = [backup(NOW)]
    schedule.demand()
    assert schedule.wait(found, NOW) == DEMANDED
    assert schedule.wait(found, NOW + DEMANDED) == 0
    schedule.failed(NOW + DEMANDED)
    assert schedule.wait(found, NOW + DEMANDED) == RETRY
    schedule.succeeded(backup(NOW + DEMANDED))
    assert schedule.wait([backup(NOW + DEMANDED)], NOW + DEMANDED) == DAY
    schedule.demand()
    schedule.responsible(False, NOW)
    assert schedule.wait(found, NOW) == DAY


def test_a_clock_that_is_set_back_does_not_keep_a_retry_waiting() -> None:
    schedule = Schedule(DAY, ALL)
    schedule.failed(NOW)
    assert schedule.wait([], NOW - DAY) == 0


def test_the_oldest_go_when_there_are_too_many() -> None:
    found = [backup(NOW - age) for age in (0, 10, 20, 30)]
    assert Schedule(10, Retention(2, None)).superseded(found[0], found, NOW) == [found[3], found[2]]


def test_what_is_too_old_goes_though_there_are_few() -> None:
    found = [backup(NOW - age) for age in (0, 10, 20, 30)]
    assert Schedule(10, Retention(10, 25)).superseded(found[0], found, NOW) == [found[3]]


def test_without_a_retention_nothing_goes() -> None:
    found = [backup(NOW - age) for age in range(0, 1000, 10)]
    assert Schedule(10, ALL).superseded(found[0], found, NOW) == []


def test_backups_of_later_revisions_stay_until_the_cluster_is_there_again() -> None:
    """A cluster that lost all its data and began anew has the id, and the retention, of before."""
    lost = [backup(NOW - DAY - age, 5000 - age) for age in range(3)]
    schedule = Schedule(10, Retention(2, DAY / 2))
    anew = [backup(NOW - age, 100 - age) for age in range(0, 40, 10)]
    assert schedule.superseded(anew[0], anew + lost, NOW) == [anew[3], anew[2]]
    reached = backup(NOW + 10, 5001)
    assert set(schedule.superseded(reached, [reached, *anew[:2], *lost], NOW + 10)) == {
        anew[1],
        *lost,
    }


def test_backups_from_the_future_go_before_those_of_today() -> None:
    future = backup(NOW + 10 * DAY)
    found = [backup(NOW), backup(NOW - DAY), future]
    assert Schedule(DAY, Retention(2, None)).superseded(found[0], found, NOW) == [future]


@given(
    times=st.lists(st.integers(0, 2 * NOW), max_size=8),
    most=st.none() | st.integers(1, 4),
    age=st.none() | st.floats(0.1, 10 * DAY),
    interval=st.floats(1, DAY),
    now=st.integers(0, 2 * NOW),
)
def test_the_backup_that_was_just_verified_always_stays(
    times: list[int], most: int | None, age: float | None, interval: float, now: int
) -> None:
    written = backup(now)
    found = list({written, *map(backup, times)})
    removed = Schedule(interval, Retention(most, age)).superseded(written, found, now)
    assert written not in removed
    assert len(set(removed)) == len(removed)
    assert set(removed) <= set(found)
    if most is not None:
        assert len(found) - len(removed) <= most


def test_a_leader_without_a_backup_is_overdue_an_interval_after_it_became_leader() -> None:
    schedule = Schedule(100, ALL)
    assert schedule.overdue(NOW) == 0
    schedule.responsible(True, NOW)
    schedule.wait([], NOW)
    assert schedule.overdue(NOW + 100) == 0
    assert schedule.overdue(NOW + 101) == 1


def test_a_backup_is_overdue_an_interval_after_it_was_due() -> None:
    schedule = Schedule(100, ALL)
    schedule.responsible(True, NOW - 1000)
    schedule.wait([backup(NOW)], NOW)
    assert schedule.overdue(NOW + 200) == 0
    assert schedule.overdue(NOW + 205) == 5
    schedule.succeeded(backup(NOW + 205))
    assert schedule.overdue(NOW + 205) == 0


def test_a_new_leader_that_finds_an_old_backup_has_an_interval_to_make_one() -> None:
    schedule = Schedule(100, ALL)
    schedule.responsible(True, NOW)
    schedule.wait([backup(NOW - 5000)], NOW)
    assert schedule.overdue(NOW + 100) == 0
    assert schedule.overdue(NOW + 101) == 1


def test_a_member_that_does_not_lead_has_nothing_overdue() -> None:
    schedule = Schedule(100, ALL)
    schedule.responsible(True, NOW)
    schedule.responsible(False, NOW + 1)
    assert schedule.overdue(NOW + 5000) == 0


@pytest.mark.parametrize(("age", "gone"), [(0, False), (ABANDONED, False), (ABANDONED + 1, True)])
def test_a_draft_of_another_member_is_abandoned_after_a_day(age: float, gone: bool) -> None:
    assert abandoned(Entry("", 1, NOW - age), NOW) is gone
