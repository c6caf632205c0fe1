"""The leader's deadlines, with the clock in the test's hand."""

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


def test_a_lease_is_due_when_its_ttl_has_passed_and_not_before() -> None:
    deadlines, _ = leading(Lease(7, 10))
    assert deadlines.due(9.9, ALL) == []
    assert deadlines.due(10.0, ALL) == [7]


def test_a_granted_lease_runs_from_its_grant() -> None:
    deadlines, book = leading()
    book[7] = Lease(7, 10)
    deadlines.granted(7, 10, now=5.0)
    assert deadlines.remaining(7, 6.0) == 9.0
    assert deadlines.due(14.9, ALL) == []
    assert deadlines.due(15.0, ALL) == [7]


def test_a_renewal_gives_the_full_ttl_again() -> None:
    deadlines, _ = leading(Lease(7, 10))
    assert deadlines.renew(7, now=9.0) == 10
    assert deadlines.due(18.9, ALL) == []
    assert deadlines.due(19.0, ALL) == [7]


def test_an_unknown_lease_renews_to_zero() -> None:
    deadlines, _ = leading()
    assert deadlines.renew(7, now=0.0) == 0


def test_a_due_lease_is_named_again_after_a_while_until_it_is_gone() -> None:
    deadlines, book = leading(Lease(7, 10))
    assert deadlines.due(10.0, ALL) == [7]
    assert deadlines.due(10.0 + RETRY_INTERVAL - 0.1, ALL) == []
    assert deadlines.due(10.0 + RETRY_INTERVAL, ALL) == [7]
    del book[7]
    deadlines.revoked(7)
    assert deadlines.due(100.0, ALL) == []


def test_many_renewals_do_not_make_a_lease_due_more_than_once() -> None:
    deadlines, _ = leading(Lease(7, 10))
    for moment in range(1, 1000):
        deadlines.renew(7, now=moment / 1000)
    assert deadlines.due(20.0, ALL) == [7]


def test_no_more_than_the_limit_is_due_at_once_soonest_first() -> None:
    deadlines, _ = leading(Lease(1, 30), Lease(2, 10), Lease(3, 20))
    assert deadlines.due(50.0, 2) == [2, 3]
    assert deadlines.due(50.0, 2) == [1]


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
    assert deadlines.due(100.0, ALL) == []
    assert deadlines.remaining(7, 0.0) == float("inf")
    assert deadlines.renew(7, 0.0) == 0
    deadlines.granted(8, 10, now=0.0)
    assert deadlines.due(100.0, ALL) == []


def test_an_expired_lease_is_known_as_such_until_revoked() -> None:
    deadlines, _ = leading(Lease(7, 10))
    assert not deadlines.expired(7, 9.9)
    assert deadlines.expired(7, 10.0)
    deadlines.revoked(7)
    assert not deadlines.expired(7, 10.0)


def test_after_a_change_of_leader_a_thousand_leases_do_not_end_in_one_second() -> None:
    deadlines, _ = leading(*(Lease(one, 10) for one in range(1, 3001)))
    in_first_second = deadlines.due(11.0, 10_000)
    assert 700 < len(in_first_second) < 800
    assert deadlines.remaining(in_first_second[0], 0.0) == 10.0


def test_a_few_leases_are_not_spread() -> None:
    deadlines, _ = leading(*(Lease(one, 10) for one in range(1, 101)))
    assert len(deadlines.due(10.0, ALL)) == 100
