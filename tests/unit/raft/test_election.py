"""Campaigns and the choice of a leader to follow, with time set by the test."""

import random

import pytest

from rusd.raft.core.election import LOST_LATE, ElectionTimer

TIMEOUT = 1.0


@pytest.fixture
def election() -> ElectionTimer:
    """One of three members, started at second 0."""
    return ElectionTimer(TIMEOUT, 2, 0.0, random.Random(1))


def first_due(election: ElectionTimer, now: float, step: float = 0.001) -> float:
    """Seconds after `now` at which it is time to ask."""
    start = now
    while not election.due(now):
        now += step
        assert now - start < 10
    return now - start


def test_a_fresh_member_asks_within_half_a_timeout(election: ElectionTimer) -> None:
    assert 0.1 * TIMEOUT <= first_due(election, 0.0) <= 0.51 * TIMEOUT


def test_a_fresh_member_without_tick_advance_waits_a_full_timeout_once() -> None:
    waits = []
    for seed in range(50):
        patient = ElectionTimer(TIMEOUT, 2, 0.0, random.Random(seed), first_soon=False)
        waits.append(first_due(patient, 0.0, step=0.01))
    assert min(waits) >= TIMEOUT and max(waits) <= 2.01 * TIMEOUT
    assert max(waits) - min(waits) > 0.7 * TIMEOUT
    assert ElectionTimer(TIMEOUT, 0, 0.0, random.Random(1), first_soon=False).due(0.0)


def test_a_lonely_member_cluster_asks_at_once() -> None:
    alone = ElectionTimer(TIMEOUT, 0, 0.0, random.Random(1))
    assert alone.due(0.0) and alone.alone()


def test_a_leaders_message_starts_the_timer_again(election: ElectionTimer) -> None:
    for tick in range(100):
        election.heard(tick * 0.1)
        assert not election.due(tick * 0.1 + 0.99)
    assert TIMEOUT <= first_due(election, 9.9) <= 2.001 * TIMEOUT


def test_timers_are_spread() -> None:
    waits = []
    for seed in range(50):
        election = ElectionTimer(TIMEOUT, 2, 0.0, random.Random(seed))
        election.heard(0.0)
        waits.append(first_due(election, 0.0, step=0.01))
    assert max(waits) - min(waits) > 0.7 * TIMEOUT


def test_a_leader_counts_as_heard_for_one_timeout(election: ElectionTimer) -> None:
    assert not election.hears_leader(0.0)
    election.heard(5.0)
    assert election.hears_leader(5.99)
    assert not election.hears_leader(6.0)


def test_a_broken_connection_to_the_leader_makes_it_ask_soon(election: ElectionTimer) -> None:
    election.heard(5.0)
    election.leader_lost(5.1)
    assert not election.hears_leader(5.1)
    assert first_due(election, 5.1) <= LOST_LATE * TIMEOUT + 0.01


def test_a_leader_heard_again_ends_the_round(election: ElectionTimer) -> None:
    first_due(election, 0.0)
    election.heard(0.6)
    assert not election.granted(2)


def test_a_quorum_must_grant_and_each_member_counts_once() -> None:
    election = ElectionTimer(TIMEOUT, 4, 0.0, random.Random(1))
    first_due(election, 0.0)
    assert not election.alone()
    assert not election.granted(2)
    assert not election.granted(2)
    assert election.granted(3)
    assert not election.granted(4), "once"


def test_nothing_is_granted_without_a_question(election: ElectionTimer) -> None:
    assert not election.granted(2)


def test_of_two_that_ask_each_other_one_gives_up(election: ElectionTimer) -> None:
    now = first_due(election, 0.0)
    election.yield_to(now, give_up=False)
    assert election.granted(2)
    now += first_due(election, now)
    election.yield_to(now, give_up=True)
    assert not election.granted(2)


def test_a_member_that_yields_campaigns_again_when_the_other_does_not_win(
    election: ElectionTimer,
) -> None:
    election.heard(0.0)
    election.yield_to(1.9, give_up=True)
    assert first_due(election, 1.9) <= 0.41 * TIMEOUT


def test_without_anybody_to_ask_it_asks_soon_after_there_is(election: ElectionTimer) -> None:
    for tick in range(100):
        election.hold(tick * 0.1)
        assert not election.due(tick * 0.1)
    assert first_due(election, 9.9) <= LOST_LATE * TIMEOUT + 0.01
