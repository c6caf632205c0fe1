"""The conditions of a txn."""

from typing import Any

import pytest

from rusd.proto import rpc_pb2 as rpc
from tests.unit.state.driver import Driver

EQUAL, GREATER = rpc.Compare.EQUAL, rpc.Compare.GREATER
LESS, NOT_EQUAL = rpc.Compare.LESS, rpc.Compare.NOT_EQUAL


@pytest.fixture
def driver(driver: Driver) -> Driver:
    """k: created at 2, modified at 3, version 2, value "m", lease 7; l: created at 4."""
    driver.grant(7)
    driver.put(b"k", b"x")
    driver.put(b"k", b"m", lease=7)
    driver.put(b"l", b"m")
    return driver


def holds(driver: Driver, **condition: Any) -> bool:
    return driver.txn([rpc.Compare(**condition)]).succeeded


@pytest.mark.parametrize(
    ("target", "member", "value"),
    [
        (rpc.Compare.VERSION, "version", 2),
        (rpc.Compare.CREATE, "create_revision", 2),
        (rpc.Compare.MOD, "mod_revision", 3),
        (rpc.Compare.LEASE, "lease", 7),
    ],
)
def test_numbers_are_compared_with_all_four_relations(
    driver: Driver, target: Any, member: str, value: int
) -> None:
    for wanted in (value - 1, value, value + 1):
        condition = {"key": b"k", "target": target, member: wanted}
        assert holds(driver, result=EQUAL, **condition) == (value == wanted)
        assert holds(driver, result=NOT_EQUAL, **condition) == (value != wanted)
        assert holds(driver, result=GREATER, **condition) == (value > wanted)
        assert holds(driver, result=LESS, **condition) == (value < wanted)


@pytest.mark.parametrize("wanted", [b"l", b"m", b"ma", b"\xff", b""])
def test_values_are_compared_byte_by_byte(driver: Driver, wanted: bytes) -> None:
    condition: dict[str, Any] = {"key": b"k", "target": rpc.Compare.VALUE, "value": wanted}
    assert holds(driver, result=EQUAL, **condition) == (wanted == b"m")
    assert holds(driver, result=GREATER, **condition) == (wanted < b"m")
    assert holds(driver, result=LESS, **condition) == (wanted > b"m")


def test_a_missing_key_has_revision_and_version_zero(driver: Driver) -> None:
    for target in (
        rpc.Compare.VERSION,
        rpc.Compare.CREATE,
        rpc.Compare.MOD,
        rpc.Compare.LEASE,
    ):
        assert holds(driver, key=b"none", target=target, result=EQUAL)
        assert not holds(driver, key=b"none", target=target, result=GREATER)


@pytest.mark.parametrize("result", [EQUAL, NOT_EQUAL, GREATER, LESS])
def test_nothing_holds_of_the_value_of_a_missing_key(driver: Driver, result: Any) -> None:
    assert not holds(driver, key=b"none", target=rpc.Compare.VALUE, value=b"", result=result)
    assert not holds(
        driver, key=b"x", range_end=b"z", target=rpc.Compare.VALUE, value=b"", result=result
    )


def test_a_range_must_satisfy_with_every_key(driver: Driver) -> None:
    both: dict[str, Any] = {"key": b"k", "range_end": b"m"}
    assert holds(driver, **both, target=rpc.Compare.VALUE, value=b"m")
    assert holds(driver, **both, target=rpc.Compare.CREATE, result=GREATER, create_revision=1)
    assert not holds(driver, **both, target=rpc.Compare.CREATE, result=GREATER, create_revision=2)
    assert holds(driver, **both, target=rpc.Compare.MOD, result=LESS, mod_revision=5)
    assert not holds(driver, **both, target=rpc.Compare.LEASE, lease=7)
    assert not holds(driver, **both, target=rpc.Compare.VERSION, version=2)


def test_a_range_end_of_one_zero_byte_means_to_the_last_key(driver: Driver) -> None:
    assert not holds(
        driver, key=b"l", range_end=b"\0", target=rpc.Compare.CREATE, create_revision=2
    )
    assert holds(driver, key=b"l", range_end=b"\0", target=rpc.Compare.CREATE, create_revision=4)


def test_an_empty_range_compares_like_a_missing_key(driver: Driver) -> None:
    assert holds(driver, key=b"z", range_end=b"a", target=rpc.Compare.VERSION, version=0)


def test_a_member_that_is_not_the_targets_counts_as_zero(driver: Driver) -> None:
    assert holds(driver, key=b"none", target=rpc.Compare.VERSION, mod_revision=9)


def test_an_unknown_relation_holds(driver: Driver) -> None:
    unknown = rpc.Compare.FromString(b"\x08\x09" + rpc.Compare(key=b"k").SerializeToString())
    assert driver.txn([unknown]).succeeded


def test_an_unknown_target_compares_as_equal(driver: Driver) -> None:
    unknown = rpc.Compare.FromString(rpc.Compare(key=b"k").SerializeToString() + b"\x10\x09")
    assert driver.txn([unknown]).succeeded
