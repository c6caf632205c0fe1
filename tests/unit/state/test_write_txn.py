"""Put and DeleteRange at apply."""

import pytest

from rusd.base.errors import Refusal
from rusd.proto import rpc_pb2 as rpc
from rusd.state.command import Kind, encode
from rusd.state.errors import KeyNotFound, LeaseNotFound
from tests.unit.state.driver import Driver


def test_a_put_answers_with_its_new_revision(driver: Driver) -> None:
    request = rpc.PutRequest(key=b"k", value=b"v").SerializeToString()
    assert driver.apply(Kind.PUT, request).revision == 2
    assert driver.apply(Kind.PUT, request).revision == 3


def test_a_put_of_the_same_value_is_a_change(driver: Driver) -> None:
    driver.put(b"k", b"v")
    driver.put(b"k", b"v")
    (kv,) = driver.all()
    assert (kv.create_revision, kv.mod_revision, kv.version) == (2, 3, 2)


def test_prev_kv_is_what_the_put_replaced(driver: Driver) -> None:
    assert not driver.put(b"k", b"old", prev_kv=True).HasField("prev_kv")
    previous = driver.put(b"k", b"new", prev_kv=True).prev_kv
    assert (previous.key, previous.value, previous.mod_revision) == (b"k", b"old", 2)


def test_prev_kv_is_left_out_unless_asked_for(driver: Driver) -> None:
    driver.put(b"k", b"old")
    assert not driver.put(b"k", b"new").HasField("prev_kv")


def test_a_put_with_an_unknown_lease_changes_nothing(driver: Driver) -> None:
    with pytest.raises(Refusal) as refused:
        driver.put(b"k", lease=7)
    assert isinstance(refused.value, LeaseNotFound)
    assert driver.machine.store.revision == 1
    assert driver.events == []


def test_ignore_value_keeps_the_value_and_takes_the_lease(driver: Driver) -> None:
    driver.grant(7)
    driver.put(b"k", b"kept")
    driver.put(b"k", lease=7, ignore_value=True)
    (kv,) = driver.all()
    assert (kv.value, kv.lease) == (b"kept", 7)


def test_ignore_lease_keeps_the_lease_and_takes_the_value(driver: Driver) -> None:
    driver.grant(7)
    driver.put(b"k", b"old", lease=7)
    driver.put(b"k", b"new", ignore_lease=True)
    (kv,) = driver.all()
    assert (kv.value, kv.lease) == (b"new", 7)


@pytest.mark.parametrize("option", ["ignore_value", "ignore_lease"])
def test_ignoring_needs_a_key_that_exists(driver: Driver, option: str) -> None:
    with pytest.raises(Refusal) as refused:
        driver.put(b"k", **{option: True})
    assert isinstance(refused.value, KeyNotFound)


def test_an_unknown_lease_is_noticed_before_a_missing_key(driver: Driver) -> None:
    with pytest.raises(Refusal) as refused:
        driver.put(b"k", lease=7, ignore_value=True)
    assert isinstance(refused.value, LeaseNotFound)


def test_deleting_a_range_is_one_revision(driver: Driver) -> None:
    for key in (b"a", b"b", b"c"):
        driver.put(key, b"v")
    response = driver.delete(b"a", b"c", prev_kv=True)
    assert response.deleted == 2
    assert [kv.key for kv in response.prev_kvs] == [b"a", b"b"]
    assert driver.machine.store.revision == 5
    assert list(driver.values()) == [b"c"]


def test_deleting_nothing_is_no_revision_and_no_event(driver: Driver) -> None:
    driver.put(b"a")
    driver.events.clear()
    applied = driver.apply(Kind.DELETE_RANGE, rpc.DeleteRangeRequest(key=b"b").SerializeToString())
    assert (applied.revision, applied.body) == (2, b"")
    assert driver.events == []


def test_a_range_end_before_the_key_deletes_nothing(driver: Driver) -> None:
    driver.put(b"a")
    assert driver.delete(b"b", b"a").deleted == 0


def test_a_request_without_a_waiter_has_no_result_and_is_applied(driver: Driver) -> None:
    request = rpc.PutRequest(key=b"k", value=b"v", prev_kv=True)
    payload = encode(Kind.PUT, request.SerializeToString())
    assert driver.apply_payloads([payload], wanted=False) == [None]
    assert driver.values() == {b"k": b"v"}
