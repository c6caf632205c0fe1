"""The leader's deadlines, with the clock in the test's hand."""

from rusd.lease.expiry import RETRY_INTERVAL, Lessor
from rusd.state.leases import Lease

ALL = 1000


class Book(dict[int, Lease]):
    """Leases by id, iterated as records."""

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self.values())


def leading(*leases: Lease, now: float = 0.0, extend: float = 0.0) -> tuple[Lessor, Book]:
    book = Book({lease.id: lease for lease in leases})
    lessor = Lessor(book)
    lessor.promote(now, extend)
    return lessor, book


def test_a_lease_is_due_when_its_ttl_has_passed_and_not_before() -> None:
    lessor, _ = leading(Lease(7, 10))
    assert lessor.due(9.9, ALL) == []
    assert lessor.due(10.0, ALL) == [7]


def test_a_granted_lease_runs_from_its_grant() -> None:
    lessor, book = leading()
    book[7] = Lease(7, 10)
    lessor.granted(7, 10, now=5.0)
    assert lessor.remaining(7, 6.0) == 9.0
    assert lessor.due(14.9, ALL) == []
    assert lessor.due(15.0, ALL) == [7]


def test_a_renewal_gives_the_full_ttl_again() -> None:
    lessor, _ = leading(Lease(7, 10))
    assert lessor.renew(7, now=9.0) == 10
    assert lessor.due(18.9, ALL) == []
    assert lessor.due(19.0, ALL) == [7]


def test_an_unknown_lease_renews_to_zero() -> None:
    lessor, _ = leading()
    assert lessor.renew(7, now=0.0) == 0


def test_a_due_lease_is_named_again_after_a_while_until_it_is_gone() -> None:
    lessor, book = leading(Lease(7, 10))
    assert lessor.due(10.0, ALL) == [7]
    assert lessor.due(10.0 + RETRY_INTERVAL - 0.1, ALL) == []
    assert lessor.due(10.0 + RETRY_INTERVAL, ALL) == [7]
    del book[7]
    lessor.revoked(7)
    assert lessor.due(100.0, ALL) == []


def test_many_renewals_do_not_make_a_lease_due_more_than_once() -> None:
    lessor, _ = leading(Lease(7, 10))
    for moment in range(1, 1000):
        lessor.renew(7, now=moment / 1000)
    assert lessor.due(20.0, ALL) == [7]


def test_no_more_than_the_limit_is_due_at_once_soonest_first() -> None:
    lessor, _ = leading(Lease(1, 30), Lease(2, 10), Lease(3, 20))
    assert lessor.due(50.0, 2) == [2, 3]
    assert lessor.due(50.0, 2) == [1]


def test_promotion_gives_every_lease_its_full_ttl_and_the_extension() -> None:
    lessor, _ = leading(Lease(7, 10), now=100.0, extend=1.0)
    assert lessor.remaining(7, 100.0) == 11.0


def test_promotion_starts_from_a_checkpoint_if_there_is_one() -> None:
    lessor, _ = leading(Lease(7, 600, remaining_ttl=50), now=100.0)
    assert lessor.remaining(7, 100.0) == 50.0


def test_a_follower_knows_no_deadlines() -> None:
    lessor, _ = leading(Lease(7, 10))
    lessor.demote()
    assert not lessor.primary
    assert lessor.due(100.0, ALL) == []
    assert lessor.remaining(7, 0.0) == float("inf")
    assert lessor.renew(7, 0.0) == 0
    lessor.granted(8, 10, now=0.0)
    assert lessor.due(100.0, ALL) == []


def test_an_expired_lease_is_known_as_such_until_revoked() -> None:
    lessor, _ = leading(Lease(7, 10))
    assert not lessor.expired(7, 9.9)
    assert lessor.expired(7, 10.0)
    lessor.revoked(7)
    assert not lessor.expired(7, 10.0)


def test_after_a_change_of_leader_a_thousand_leases_do_not_end_in_one_second() -> None:
    lessor, _ = leading(*(Lease(one, 10) for one in range(1, 3001)))
    in_first_second = lessor.due(11.0, 10_000)
    assert 700 < len(in_first_second) < 800
    assert lessor.remaining(in_first_second[0], 0.0) == 10.0


def test_a_few_leases_are_not_spread() -> None:
    lessor, _ = leading(*(Lease(one, 10) for one in range(1, 101)))
    assert len(lessor.due(10.0, ALL)) == 100
