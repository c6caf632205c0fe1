"""Leases as replicated records, and what they do to keys."""

import gc

import pytest

from rusd.base.errors import Refusal
from rusd.proto import rpc_pb2 as rpc
from rusd.state.command import Kind, LeaseExpiry
from rusd.state.errors import LeaderChanged, LeaseExists, LeaseNotFound, LeaseTtlTooLarge
from tests.unit.state.driver import Driver, delete_op, put_op


def keys(driver: Driver, lease_id: int) -> set[bytes]:
    return set(driver.machine.leases.require(lease_id).keys)


def test_a_grant_answers_id_and_ttl_and_keeps_the_revision(driver: Driver) -> None:
    response = driver.grant(7, 60)
    assert (response.ID, response.TTL, response.error) == (7, 60, "")
    assert driver.machine.store.revision == 1


@pytest.mark.parametrize(
    ("lease_id", "ttl", "error"),
    [
        (7, 60, LeaseExists),
        (8, 9_000_000_001, LeaseTtlTooLarge),
        (7, 9_000_000_001, LeaseTtlTooLarge),
        (0, 60, LeaseNotFound),
    ],
)
def test_a_grant_is_refused(driver: Driver, lease_id: int, ttl: int, error: type[Refusal]) -> None:
    driver.grant(7)
    with pytest.raises(Refusal) as refused:
        driver.grant(lease_id, ttl)
    assert type(refused.value) is error


def test_the_largest_ttl_and_a_negative_id_are_fine(driver: Driver) -> None:
    assert driver.grant(-5, 9_000_000_000).ID == -5
    driver.put(b"k", lease=-5)
    driver.restart()
    assert keys(driver, -5) == {b"k"}


def test_a_put_moves_its_key_from_lease_to_lease(driver: Driver) -> None:
    driver.grant(7)
    driver.grant(8)
    driver.put(b"k", lease=7)
    assert keys(driver, 7) == {b"k"}
    driver.put(b"k", lease=8)
    assert (keys(driver, 7), keys(driver, 8)) == (set(), {b"k"})
    driver.put(b"k")
    assert keys(driver, 8) == set()


def test_a_deleted_key_is_detached_from_its_lease(driver: Driver) -> None:
    driver.grant(7)
    driver.put(b"a", lease=7)
    driver.put(b"b", lease=7)
    driver.delete(b"a")
    assert keys(driver, 7) == {b"b"}
    driver.txn(success=[delete_op(b"b"), put_op(b"c", lease=7)])
    assert keys(driver, 7) == {b"c"}


def test_a_revoke_deletes_the_keys_in_order_at_one_revision(driver: Driver) -> None:
    driver.grant(7)
    for key in (b"c", b"a", b"b"):
        driver.put(key, lease=7)
    driver.put(b"other")
    driver.events.clear()
    assert driver.revoke(7) == 6
    ((revision, events),) = driver.events
    assert revision == 6
    assert [(event.key, event.sub, event.type) for event in events] == [
        (b"a", 0, 1),
        (b"b", 1, 1),
        (b"c", 2, 1),
    ]
    assert driver.machine.leases.get(7) is None
    assert list(driver.values()) == [b"other"]


def test_a_revoke_without_keys_keeps_the_revision(driver: Driver) -> None:
    driver.grant(7)
    assert driver.revoke(7) == 1


def test_an_unknown_lease_cannot_be_revoked(driver: Driver) -> None:
    with pytest.raises(Refusal) as refused:
        driver.revoke(7)
    assert isinstance(refused.value, LeaseNotFound)


def test_a_key_that_moved_away_survives_the_revoke(driver: Driver) -> None:
    driver.grant(7)
    driver.put(b"k", lease=7)
    driver.put(b"k", b"stays")
    driver.revoke(7)
    assert driver.values() == {b"k": b"stays"}


def test_the_leader_of_the_same_term_may_expire_a_lease(driver: Driver) -> None:
    driver.grant(7)
    driver.put(b"k", lease=7)
    driver.apply(Kind.LEASE_EXPIRE, LeaseExpiry(driver.term, 7).encode())
    assert driver.values() == {}


def test_an_expiry_found_by_an_earlier_leader_is_void(driver: Driver) -> None:
    driver.grant(7)
    found = LeaseExpiry(driver.term, 7)
    driver.term += 1
    with pytest.raises(Refusal) as refused:
        driver.apply(Kind.LEASE_EXPIRE, found.encode())
    assert isinstance(refused.value, LeaderChanged)
    assert driver.machine.leases.get(7) is not None


def test_leases_and_their_keys_survive_a_restart(driver: Driver) -> None:
    driver.grant(7, 60)
    driver.grant(8, 61)
    driver.grant(9)
    driver.put(b"a", lease=7)
    driver.put(b"b", lease=7)
    driver.put(b"b")
    driver.put(b"deleted_intervals", lease=9)
    driver.revoke(9)
    driver.restart()
    found = {one.id: (one.ttl, set(one.keys)) for one in driver.machine.leases}
    assert found == {7: (60, {b"a"}), 8: (61, set())}


def test_a_checkpoint_is_kept_and_an_unknown_lease_ignored(driver: Driver) -> None:
    driver.grant(7, 600)
    request = rpc.LeaseCheckpointRequest(
        checkpoints=[
            rpc.LeaseCheckpoint(ID=7, remaining_TTL=321),
            rpc.LeaseCheckpoint(ID=8, remaining_TTL=1),
        ]
    )
    driver.apply(Kind.LEASE_CHECKPOINT, request.SerializeToString())
    driver.restart()
    assert driver.machine.leases.require(7).remaining_ttl == 321
    assert len(driver.machine.leases) == 1


def test_the_listener_is_called_with_leases_after_they_are_applied(driver: Driver) -> None:
    heard: list[tuple[str, int, int]] = []

    class Listener:
        def granted(self, lease_id: int, ttl: int) -> None:
            heard.append(("granted", lease_id, driver.machine.positions()[0].index))

        def revoked(self, lease_id: int) -> None:
            heard.append(("revoked", lease_id, driver.machine.positions()[0].index))

        def restored(self) -> None:
            heard.append(("restored", 0, 0))

    driver.listen(leases=Listener())
    driver.grant(7)
    driver.revoke(7)
    assert heard == [("granted", 7, 2), ("revoked", 7, 3)]


def test_the_garbage_collector_visits_neither_leases_nor_their_keys(driver: Driver) -> None:
    """A full collection cannot be divided: its length is what it visits."""
    driver.grant(7)
    driver.put(b"k", lease=7)
    lease = driver.machine.leases.require(7)
    assert list(lease.keys) == [b"k"]
    assert not gc.is_tracked(lease)
    assert not gc.is_tracked(lease.keys)
