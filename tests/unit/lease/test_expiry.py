"""The leader's deadlines, with the clock in the test's hand."""

from itertools import pairwise

import pytest

from rusd.base.sliced import SORTED, emptied, finish
from rusd.lease.expiry import RETRY_INTERVAL, LeaseDeadlines
from rusd.state.leases import Lease

ALL = 1000


class Book(dict[int, Lease]):
    """Leases by id, iterated as records."""

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self.values())


def leading(*leases: Lease, now: float = 0.0, extend: float = 0.0) -> tuple[LeaseDeadlines, Book]:
    book = Book({lease.id: lease for lease in leases})
    deadlines = LeaseDeadlines(book)
    deadlines.promote(now, extend)
    return deadlines, book


def due(deadlines: LeaseDeadlines, now: float, limit: int) -> list[int]:
    return finish(deadlines.due(now, limit))


def test_a_lease_is_due_when_its_ttl_has_passed_and_not_before() -> None:
    deadlines, _ = leading(Lease(7, 10))
    assert due(deadlines, 9.9, ALL) == []
    assert due(deadlines, 10.0, ALL) == [7]


def test_a_granted_lease_runs_from_its_grant() -> None:
    deadlines, book = leading()
    book[7] = Lease(7, 10)
    deadlines.granted(7, 10, now=5.0)
    assert deadlines.remaining(7, 6.0) == 9.0
    assert due(deadlines, 14.9, ALL) == []
    assert due(deadlines, 15.0, ALL) == [7]


def test_a_renewal_gives_the_full_ttl_again() -> None:
    deadlines, _ = leading(Lease(7, 10))
    assert deadlines.renew(7, now=9.0) == 10
    assert due(deadlines, 18.9, ALL) == []
    assert due(deadlines, 19.0, ALL) == [7]


def test_an_unknown_lease_renews_to_zero() -> None:
    deadlines, _ = leading()
    assert deadlines.renew(7, now=0.0) == 0


def test_a_due_lease_is_named_again_after_a_while_until_it_is_gone() -> None:
    deadlines, book = leading(Lease(7, 10))
    assert due(deadlines, 10.0, ALL) == [7]
    assert due(deadlines, 10.0 + RETRY_INTERVAL - 0.1, ALL) == []
    assert due(deadlines, 10.0 + RETRY_INTERVAL, ALL) == [7]
    del book[7]
    deadlines.revoked(7)
    assert due(deadlines, 100.0, ALL) == []


def test_many_renewals_do_not_make_a_lease_due_more_than_once() -> None:
    deadlines, _ = leading(Lease(7, 10))
    for moment in range(1, 1000):
        deadlines.renew(7, now=moment / 1000)
    assert due(deadlines, 20.0, ALL) == [7]


def test_no_more_than_the_limit_is_due_at_once_soonest_first() -> None:
    deadlines, _ = leading(Lease(1, 30), Lease(2, 10), Lease(3, 20))
    assert due(deadlines, 50.0, 2) == [2, 3]
    assert due(deadlines, 50.0, 2) == [1]


def test_promotion_gives_every_lease_its_full_ttl_and_the_extension() -> None:
    deadlines, _ = leading(Lease(7, 10), now=100.0, extend=1.0)
    assert deadlines.remaining(7, 100.0) == 11.0


def test_promotion_starts_from_a_checkpoint_if_there_is_one() -> None:
    deadlines, _ = leading(Lease(7, 600, remaining_ttl=50), now=100.0)
    assert deadlines.remaining(7, 100.0) == 50.0


def test_a_follower_knows_no_deadlines() -> None:
    deadlines, _ = leading(Lease(7, 10))
    deadlines.demote()
    assert not deadlines.primary
    assert due(deadlines, 100.0, ALL) == []
    assert deadlines.remaining(7, 0.0) == float("inf")
    assert deadlines.renew(7, 0.0) == 0
    deadlines.granted(8, 10, now=0.0)
    assert due(deadlines, 100.0, ALL) == []


def test_an_expired_lease_is_known_as_such_until_revoked() -> None:
    deadlines, _ = leading(Lease(7, 10))
    assert not deadlines.expired(7, 9.9)
    assert deadlines.expired(7, 10.0)
    deadlines.revoked(7)
    assert not deadlines.expired(7, 10.0)


def test_after_a_change_of_leader_a_thousand_leases_do_not_end_in_one_second() -> None:
    deadlines, _ = leading(*(Lease(one, 10) for one in range(1, 3001)))
    in_first_second = due(deadlines, 11.0, 10_000)
    assert 700 < len(in_first_second) < 800
    assert deadlines.remaining(in_first_second[0], 0.0) == 10.0


def test_a_few_leases_are_not_spread() -> None:
    deadlines, _ = leading(*(Lease(one, 10) for one in range(1, 101)))
    assert len(due(deadlines, 10.0, ALL)) == 100


def leading_many(count: int, ttl: int = 100) -> tuple[LeaseDeadlines, Book]:
    """Promoted, and past the first slice of it."""
    return leading(*(Lease(one, ttl) for one in range(1, count + 1)))


def test_a_promotion_with_very_many_leases_is_done_in_slices() -> None:
    deadlines, _ = leading_many(10 * SORTED)
    slices = deadlines.due(1.0, ALL)
    assert sum(1 for _ in slices) > 20
    assert all(100 <= deadlines.remaining(one, 0.0) < 114 for one in range(1, 10 * SORTED + 1))


def test_what_happens_to_a_lease_during_a_promotion_counts() -> None:
    deadlines, book = leading_many(3 * SORTED)
    slices = deadlines.due(1.0, ALL)
    next(slices)
    renewed, revoked, granted = 5, 6, 4 * SORTED
    # The leader knows no deadline of it yet, so that it has not expired.
    assert not deadlines.expired(renewed, 1e9)
    book[renewed].ttl = 7
    assert deadlines.renew(renewed, 1.0) == 7
    del book[revoked]
    deadlines.revoked(revoked)
    book[granted] = Lease(granted, 3)
    deadlines.granted(granted, 3, now=1.0)
    assert finish(slices) == []
    assert deadlines.remaining(renewed, 1.0) == 7
    assert deadlines.remaining(revoked, 1.0) == float("inf")
    assert due(deadlines, 10.0, ALL) == [granted, renewed]


def test_a_demotion_ends_a_promotion_and_a_search_under_way() -> None:
    for promoted in (False, True):
        deadlines, _ = leading_many(3 * SORTED)
        if promoted:
            finish(deadlines.due(0.0, ALL))
        slices = deadlines.due(1e6, 10_000)
        next(slices)
        deadlines.demote()
        found = finish(slices)
        assert found == []
        assert deadlines.remaining(1, 0.0) == float("inf")
        # Nor does it name leases to a leader of a later term.
        deadlines.promote(1e6, 0.0)
        finish(deadlines.due(1e6, ALL))
        slices = deadlines.due(2e6, 10_000)
        next(slices)
        deadlines.promote(2e6, 0.0)
        assert finish(slices) == []


def test_a_lease_granted_anew_during_a_search_is_not_due() -> None:
    deadlines, _ = leading_many(3 * SORTED)
    finish(deadlines.due(0.0, ALL))
    slices = deadlines.due(1e6, 10_000)
    next(slices)
    deadlines.revoked(1)
    deadlines.granted(1, 100, now=1e6)
    assert 1 not in finish(slices)


def test_renewed_and_revoked_leases_do_not_grow_the_heap() -> None:
    deadlines, book = leading_many(2 * SORTED, ttl=1_000_000)
    finish(deadlines.due(0.0, ALL))
    for moment in range(20):
        for one in range(1, 2 * SORTED + 1):
            deadlines.renew(one, float(moment))
    assert len(deadlines._heap) <= 4 * SORTED
    for one in range(10_000, 10_000 + 20 * SORTED):
        book[one] = Lease(one, 1_000_000)
        deadlines.granted(one, 1_000_000, now=0.0)
        del book[one]
        deadlines.revoked(one)
    assert sum(1 for _ in deadlines.due(0.0, ALL)) > 10
    assert len(deadlines._heap) == 2 * SORTED
    assert len(due(deadlines, 2e6, 10_000)) == 2 * SORTED


@pytest.mark.parametrize("begun", [0, 15, 30, 45, ALL])
def test_the_deadlines_of_a_member_that_leads_no_more_are_freed_in_slices(begun: int) -> None:
    """It may lose leadership in each part of the promotion, and behind it."""
    deadlines, _ = leading_many(20 * SORTED)
    promotion = deadlines.due(0.0, ALL)
    for _ in range(begun):
        next(promotion, None)
    deadlines.demote()
    unused = list(deadlines._unused)
    held = sum(map(len, unused))
    assert held >= SORTED
    slices = sum(1 for _ in promotion) + sum(1 for _ in deadlines.due(0.0, ALL))
    assert slices >= held // SORTED
    assert not any(unused)
    assert deadlines._unused == []


def test_a_member_that_leads_again_before_all_is_freed_forgets_no_deadline() -> None:
    many = 5 * SORTED
    deadlines, _ = leading_many(many)
    finish(deadlines.due(0.0, ALL))
    deadlines.demote()
    freeing = deadlines.due(0.0, ALL)
    next(freeing)
    deadlines.promote(0.0, 0.0)
    finish(freeing)
    finish(deadlines.due(0.0, ALL))
    assert deadlines._unused == []
    assert all(0 < deadlines.remaining(one, 0.0) < float("inf") for one in range(1, many + 1))


def test_a_container_is_emptied_a_slice_at_a_time() -> None:
    for container in (list(range(5 * SORTED + 7)), dict.fromkeys(range(5 * SORTED + 7))):
        lengths = [len(container)]
        for _ in emptied(container):
            lengths.append(len(container))
        assert [a - b for a, b in pairwise(lengths)] == [SORTED] * 5 + [7]
