"""Failed logins are limited, and lock out nobody else."""

import pytest

from rusd.auth.login_limit import (
    ADDRESS_BURST,
    MAX_TRACKED,
    PAIR_BURST,
    PAIR_RATE,
    LoginLimit,
    address_of,
)


def fail(limit: LoginLimit, user: str, address: str, times: int, now: float = 0) -> None:
    for _ in range(times):
        limit.failed(user, address, now)


def test_a_burst_of_failures_is_permitted_and_more_must_wait() -> None:
    limit = LoginLimit()
    fail(limit, "a", "1.1.1.1", PAIR_BURST - 1)
    assert limit.permits("a", "1.1.1.1", 0)
    fail(limit, "a", "1.1.1.1", 1)
    assert not limit.permits("a", "1.1.1.1", 0)
    assert limit.permits("a", "1.1.1.1", 1 / PAIR_RATE + 0.01)


def test_guesses_one_after_another_are_limited_to_the_rate() -> None:
    limit = LoginLimit()
    tried = 0
    for millisecond in range(20_000):
        now = millisecond / 1000
        if limit.permits("a", "1.1.1.1", now):
            limit.failed("a", "1.1.1.1", now)
            tried += 1
    assert tried == PAIR_BURST + 20 * PAIR_RATE - 1


def test_no_amount_of_failures_delays_the_next_try_any_further() -> None:
    limit = LoginLimit()
    fail(limit, "a", "1.1.1.1", 1000)
    assert limit.permits("a", "1.1.1.1", 1 / PAIR_RATE + 1)


def test_failures_at_one_address_do_not_lock_the_user_out_at_another() -> None:
    limit = LoginLimit()
    fail(limit, "a", "1.1.1.1", 1000)
    assert limit.permits("a", "2.2.2.2", 0)


def test_failures_of_one_user_do_not_lock_out_another_at_the_same_address() -> None:
    limit = LoginLimit()
    fail(limit, "a", "1.1.1.1", PAIR_BURST)
    assert limit.permits("b", "1.1.1.1", 0)


def test_an_address_that_tries_many_users_is_limited() -> None:
    limit = LoginLimit()
    for number in range(ADDRESS_BURST):
        limit.failed(f"user-{number}", "1.1.1.1", 0)
    assert not limit.permits("another", "1.1.1.1", 0)
    assert limit.permits("another", "2.2.2.2", 0)


def test_the_counts_are_bounded() -> None:
    limit = LoginLimit()
    for number in range(MAX_TRACKED + 100):
        limit.failed("a", f"address-{number}", 0)
    kept = [len(counts._counts) for counts in (limit._pairs, limit._addresses)]
    assert kept == [MAX_TRACKED, MAX_TRACKED]


def test_a_user_that_has_logged_in_is_not_held_up_by_failures_of_others_at_its_address() -> None:
    limit = LoginLimit()
    limit.succeeded("a", "1.1.1.1")
    for number in range(ADDRESS_BURST):
        fail(limit, f"guess {number}", "1.1.1.1", 1)
    assert limit.permits("a", "1.1.1.1", 0)
    assert not limit.permits("b", "1.1.1.1", 0)


def test_a_long_user_name_takes_no_more_memory_than_a_short_one() -> None:
    limit = LoginLimit()
    limit.failed("u" * 1_000_000, "1.1.1.1", 0)
    limit.succeeded("v" * 1_000_000, "1.1.1.1")
    assert all(len(key) == 16 for key in (*limit._pairs._counts, *limit._known))


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("10.1.2.3:4711", "10.1.2.3"),
        ("[2001:db8:1:2:3:4:5:6]:4711", "2001:db8:1:2::"),
        ("[2001:db8:1:2:ffff::1]:4711", "2001:db8:1:2::"),
        ("[::ffff:10.1.2.3]:4711", "10.1.2.3"),
        ("[fe80::1%eth0]:4711", "fe80::"),
        ("unix:", ""),
        ("unix:/run/rusd.sock", ""),
    ],
)
def test_failures_count_by_host(remote: str, address: str) -> None:
    assert address_of(remote) == address
