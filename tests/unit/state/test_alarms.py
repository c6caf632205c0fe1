"""Alarms: the answers to the Alarm request, and what an active alarm forbids."""

from typing import Any

import pytest

from rusd.base.errors import Refusal
from rusd.proto import rpc_pb2 as rpc
from rusd.state.command import Kind, encode
from rusd.state.errors import Corrupt, NoSpace
from tests.unit.state.driver import Driver, delete_op, put_op, range_op, txn_op

GET, ACTIVATE, DEACTIVATE = 0, 1, 2
NOSPACE, CORRUPTION = 1, 2


def refusal(driver: Driver, kind: Kind, request: Any) -> Refusal | None:
    try:
        driver.apply(kind, request.SerializeToString())
    except Refusal as error:
        return error
    return None


def refusals(driver: Driver) -> dict[str, Refusal | None]:
    """Return the refusal or None of one request of each kind (leases 7 and 8 exist)."""
    put = rpc.TxnRequest(success=[put_op(b"t")])
    hidden = rpc.TxnRequest(success=[range_op(b"t")], failure=[txn_op(failure=[put_op(b"t")])])
    requests: dict[str, tuple[Kind, Any]] = {
        "put": (Kind.PUT, rpc.PutRequest(key=b"k")),
        "txn with a put": (Kind.TXN, put),
        "txn with a put in a branch": (Kind.TXN, hidden),
        "txn without a put": (Kind.TXN, rpc.TxnRequest(success=[delete_op(b"k")])),
        "delete": (Kind.DELETE_RANGE, rpc.DeleteRangeRequest(key=b"k")),
        "grant": (Kind.LEASE_GRANT, rpc.LeaseGrantRequest(ID=9, TTL=60)),
        "revoke": (Kind.LEASE_REVOKE, rpc.LeaseRevokeRequest(ID=7)),
        "compact": (Kind.COMPACT, rpc.CompactionRequest(revision=0)),
        "alarm": (Kind.ALARM, rpc.AlarmRequest()),
    }
    return {name: refusal(driver, *request) for name, request in requests.items()}


def test_activating_twice_lists_the_alarm_twice_but_keeps_one(driver: Driver) -> None:
    assert driver.alarm(ACTIVATE, 5, NOSPACE) == [(5, NOSPACE)]
    assert driver.alarm(ACTIVATE, 5, NOSPACE) == [(5, NOSPACE)]
    assert driver.alarm(GET) == [(5, NOSPACE)]


def test_get_lists_one_kind_or_all(driver: Driver) -> None:
    driver.alarm(ACTIVATE, 5, NOSPACE)
    driver.alarm(ACTIVATE, 4, CORRUPTION)
    assert sorted(driver.alarm(GET, 99)) == [(4, CORRUPTION), (5, NOSPACE)]
    assert driver.alarm(GET, 0, CORRUPTION) == [(4, CORRUPTION)]


def test_activating_no_kind_does_nothing(driver: Driver) -> None:
    assert driver.alarm(ACTIVATE, 5, 0) == []
    assert driver.alarm(GET) == []


def test_deactivating_lists_what_was_cleared(driver: Driver) -> None:
    driver.alarm(ACTIVATE, 5, NOSPACE)
    assert driver.alarm(DEACTIVATE, 6, NOSPACE) == []
    assert driver.alarm(DEACTIVATE, 5, NOSPACE) == [(5, NOSPACE)]
    assert driver.alarm(DEACTIVATE, 5, NOSPACE) == []


def test_alarms_survive_a_restart(driver: Driver) -> None:
    driver.alarm(ACTIVATE, 5, NOSPACE)
    driver.restart()
    assert driver.alarm(GET) == [(5, NOSPACE)]
    assert driver.machine.alarms.no_space


@pytest.mark.parametrize("kind", [77, -1])
def test_an_unknown_kind_of_alarm_is_kept_like_any_other(driver: Driver, kind: int) -> None:
    request = rpc.AlarmRequest.FromString(
        b"\x08\x01\x10\x05\x18" + (b"\x4d" if kind == 77 else b"\xff" * 9 + b"\x01")
    )
    driver.apply(Kind.ALARM, request.SerializeToString())
    assert driver.alarm(GET) == [(5, kind)]


def test_no_space_refuses_growth_only(driver: Driver) -> None:
    driver.grant(7)
    driver.alarm(ACTIVATE, 5, NOSPACE)
    found = refusals(driver)
    assert {name for name, error in found.items() if isinstance(error, NoSpace)} == {
        "put",
        "txn with a put",
        "txn with a put in a branch",
        "grant",
    }
    assert {name for name, error in found.items() if error is None} == {
        "txn without a put",
        "delete",
        "revoke",
        "compact",
        "alarm",
    }


def test_corruption_refuses_everything_but_alarms(driver: Driver) -> None:
    driver.grant(7)
    driver.alarm(ACTIVATE, 5, NOSPACE)
    driver.alarm(ACTIVATE, 5, CORRUPTION)
    found = refusals(driver)
    assert found.pop("alarm") is None
    assert {type(error) for error in found.values()} == {Corrupt}
    assert driver.machine.store.revision == 1


def test_clearing_the_alarm_of_one_member_is_not_enough_if_another_has_it(driver: Driver) -> None:
    driver.alarm(ACTIVATE, 5, NOSPACE)
    driver.alarm(ACTIVATE, 6, NOSPACE)
    driver.alarm(DEACTIVATE, 5, NOSPACE)
    assert isinstance(refusal(driver, Kind.PUT, rpc.PutRequest(key=b"k")), NoSpace)
    driver.alarm(DEACTIVATE, 6, NOSPACE)
    assert refusal(driver, Kind.PUT, rpc.PutRequest(key=b"k")) is None


def test_the_alarm_works_from_the_next_request_of_the_same_entry_on(driver: Driver) -> None:
    raise_alarm = rpc.AlarmRequest(action=rpc.AlarmRequest.ACTIVATE, memberID=5, alarm=rpc.NOSPACE)
    put = encode(Kind.PUT, rpc.PutRequest(key=b"k").SerializeToString())
    alarm = encode(Kind.ALARM, raise_alarm.SerializeToString())
    before, _, behind = driver.apply_payloads([put, alarm, put])
    assert not isinstance(before, Refusal)
    assert isinstance(behind, NoSpace)
    assert driver.all()[0].version == 1
