"""The membership in the replicated state."""

import pytest

from rusd.errors import MEMBER_NOT_FOUND, EtcdError
from rusd.proto import rpc_pb2 as rpc
from rusd.state.command import Kind
from rusd.state.members import Member
from tests.unit.state.driver import Driver

FIRST = Member(2, "", ("http://b:2380",))
SECOND = Member(1, "", ("http://a:2380",))


def publish(driver: Driver, member_id: int) -> None:
    message = rpc.Member(ID=member_id, name="one", clientURLs=["http://one:2379"])
    driver.apply(Kind.MEMBER_ATTRIBUTES, message.SerializeToString())


def test_bootstrap_writes_the_membership_in_the_order_of_ids(driver: Driver) -> None:
    driver.machine.bootstrap([FIRST, SECOND], 99)
    driver.restart()
    assert list(driver.machine.members) == [SECOND, FIRST]
    assert driver.machine.members.cluster_id == 99


def test_a_second_bootstrap_changes_nothing(driver: Driver) -> None:
    driver.machine.bootstrap([FIRST, SECOND], 99)
    driver.machine.bootstrap([FIRST], 98)
    assert len(driver.machine.members) == 2
    assert driver.machine.members.cluster_id == 99


def test_bootstrap_is_no_log_entry_and_no_revision(driver: Driver) -> None:
    driver.machine.bootstrap([FIRST], 99)
    assert driver.machine.positions() == ((1, 0), (1, 0))
    assert driver.machine.store.revision == 1


def test_a_member_publishes_its_name_and_client_urls(driver: Driver) -> None:
    driver.machine.bootstrap([FIRST, SECOND], 99)
    publish(driver, 2)
    driver.restart()
    assert driver.machine.members.get(2) == Member(
        2, "one", ("http://b:2380",), ("http://one:2379",)
    )


def test_a_stranger_cannot_publish(driver: Driver) -> None:
    driver.machine.bootstrap([FIRST], 99)
    with pytest.raises(EtcdError) as refused:
        publish(driver, 5)
    assert refused.value is MEMBER_NOT_FOUND


def test_the_cluster_version_is_unknown_until_set(driver: Driver) -> None:
    assert driver.machine.members.cluster_version is None
    driver.apply(Kind.CLUSTER_VERSION, b"3.6.0")
    driver.restart()
    assert driver.machine.members.cluster_version == "3.6.0"
