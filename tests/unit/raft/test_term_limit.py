"""Limits on how far a message may raise a member's term."""

import pytest
from msgspec import structs

from rusd.raft.core.term_limit import LEAP, PAUSE, STRIDE, TermLimit
from rusd.raft.transport.frames import (
    MAX_TERM,
    AppendEntries,
    Frame,
    HigherTerm,
    PreVote,
    PreVoteReply,
    Removed,
    RequestVote,
)


@pytest.mark.parametrize(
    "frame",
    [AppendEntries(0, 0), RequestVote(0, 0, 0), PreVoteReply(0, 0, False), HigherTerm(0)],
    ids=lambda frame: type(frame).__name__,
)
def test_a_member_that_was_away_for_a_billion_elections_catches_up_at_once(frame: Frame) -> None:
    assert TermLimit().allows(structs.replace(frame, term=10**9), 0, 0.0)
    assert not TermLimit().allows(structs.replace(frame, term=LEAP + 1), 0, 0.0)


def test_ordinary_elections_never_wait() -> None:
    terms, term = TermLimit(), 0
    for _ in range(1000):
        assert terms.allows(RequestVote(term + STRIDE, 0, 0), term, 0.0)
        terms.moved(term, term + STRIDE, 0.0)
        term += STRIDE


def test_one_leap_is_believed_in_its_time() -> None:
    terms = TermLimit()
    assert terms.allows(HigherTerm(LEAP), 0, 5.0)
    terms.moved(0, LEAP, 5.0)
    assert not terms.allows(HigherTerm(2 * LEAP), LEAP, 5.0 + PAUSE / 2)
    assert terms.allows(HigherTerm(2 * LEAP), LEAP, 5.0 + PAUSE)


def test_a_term_that_is_not_adopted_may_be_any() -> None:
    assert TermLimit().allows(PreVote(MAX_TERM, 0, 0), 0, 0.0)
    assert TermLimit().allows(Removed(), 0, 0.0)
