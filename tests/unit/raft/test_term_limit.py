"""How far a message may take a member's term."""

import pytest

from rusd.raft.core.term_limit import LEAP, PAUSE, STRIDE, Terms
from rusd.raft.transport.frames import MAX_TERM


@pytest.mark.parametrize("kind", ["append_entries", "request_vote", "prevote_reply", "term"])
def test_a_member_that_was_away_for_a_billion_elections_catches_up_at_once(kind: str) -> None:
    assert Terms().believes({"type": kind, "term": 10**9}, 0, 0.0)
    assert not Terms().believes({"type": kind, "term": LEAP + 1}, 0, 0.0)


def test_ordinary_elections_never_wait() -> None:
    terms, term = Terms(), 0
    for _ in range(1000):
        assert terms.believes({"type": "request_vote", "term": term + STRIDE}, term, 0.0)
        terms.moved(term, term + STRIDE, 0.0)
        term += STRIDE


def test_one_leap_is_believed_in_its_time() -> None:
    terms = Terms()
    assert terms.believes({"type": "term", "term": LEAP}, 0, 5.0)
    terms.moved(0, LEAP, 5.0)
    assert not terms.believes({"type": "term", "term": 2 * LEAP}, LEAP, 5.0 + PAUSE / 2)
    assert terms.believes({"type": "term", "term": 2 * LEAP}, LEAP, 5.0 + PAUSE)


def test_a_term_that_nobody_takes_over_may_be_any() -> None:
    assert Terms().believes({"type": "prevote", "term": MAX_TERM}, 0, 0.0)
    assert Terms().believes({"type": "removed"}, 0, 0.0)
