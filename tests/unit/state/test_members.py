"""The membership in the replicated state."""

from dataclasses import replace

import pytest

from rusd.base.errors import Refusal
from rusd.proto import rpc_pb2 as rpc
from rusd.state.command import Kind, MemberAddition
from rusd.state.errors import (
    LastVoter,
    MemberExists,
    MemberNotFound,
    NotLearner,
    PeerUrlExists,
    TooManyLearners,
)
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


def test_an_unknown_member_cannot_publish(driver: Driver) -> None:
    driver.machine.bootstrap([FIRST], 99)
    with pytest.raises(Refusal) as refused:
        publish(driver, 5)
    assert isinstance(refused.value, MemberNotFound)


def test_the_cluster_version_is_unknown_until_set(driver: Driver) -> None:
    assert driver.machine.members.cluster_version is None
    driver.apply(Kind.CLUSTER_VERSION, b"3.6.0")
    driver.restart()
    assert driver.machine.members.cluster_version == "3.6.0"


NEW = Member(7, "", ("http://c:2380",))


def add(driver: Driver, member: Member, max_learners: int = 1) -> None:
    driver.apply(Kind.MEMBER_ADD, MemberAddition(max_learners, member).encode())


def change(driver: Driver, kind: Kind, member_id: int, *urls: str) -> None:
    driver.apply(kind, rpc.Member(ID=member_id, peerURLs=urls).SerializeToString())


def founded(driver: Driver) -> Driver:
    driver.machine.bootstrap([FIRST, SECOND], 99)
    return driver


def test_additions_removals_updates_and_promotions_are_kept(driver: Driver) -> None:
    founded(driver)
    add(driver, replace(NEW, is_learner=True))
    change(driver, Kind.MEMBER_PROMOTE, 7)
    change(driver, Kind.MEMBER_UPDATE, 7, "http://d:1", "http://d:2")
    change(driver, Kind.MEMBER_REMOVE, 1)
    driver.restart()
    members = driver.machine.members
    assert list(members) == [FIRST, replace(NEW, peer_urls=("http://d:1", "http://d:2"))]
    assert members.removed == {1}


@pytest.mark.parametrize(
    ("member", "error"),
    [
        (replace(NEW, id=2), MemberExists),
        (replace(NEW, peer_urls=("http://x:1", "http://a:2380")), PeerUrlExists),
    ],
)
def test_what_is_there_already_is_not_added(
    driver: Driver, member: Member, error: type[Refusal]
) -> None:
    founded(driver)
    with pytest.raises(Refusal) as refused:
        add(driver, member)
    assert type(refused.value) is error


def test_there_are_no_more_learners_than_allowed(driver: Driver) -> None:
    founded(driver)
    add(driver, replace(NEW, is_learner=True), max_learners=1)
    another = Member(8, "", ("http://e:1",), is_learner=True)
    with pytest.raises(Refusal) as refused:
        add(driver, another, max_learners=1)
    assert isinstance(refused.value, TooManyLearners)
    add(driver, another, max_learners=2)


def test_an_id_that_was_removed_never_comes_back(driver: Driver) -> None:
    founded(driver)
    change(driver, Kind.MEMBER_REMOVE, 1)
    with pytest.raises(Refusal) as refused:
        add(driver, SECOND)
    assert isinstance(refused.value, MemberNotFound)
    for kind in (Kind.MEMBER_REMOVE, Kind.MEMBER_UPDATE, Kind.MEMBER_PROMOTE):
        with pytest.raises(Refusal) as refused:
            change(driver, kind, 1, "http://y:1")
        assert isinstance(refused.value, MemberNotFound)


def test_the_last_voter_is_not_removed(driver: Driver) -> None:
    driver.machine.bootstrap([FIRST], 99)
    add(driver, replace(NEW, is_learner=True))
    with pytest.raises(Refusal) as refused:
        change(driver, Kind.MEMBER_REMOVE, 2)
    assert isinstance(refused.value, LastVoter)


def test_only_a_learner_is_promoted(driver: Driver) -> None:
    founded(driver)
    with pytest.raises(Refusal) as refused:
        change(driver, Kind.MEMBER_PROMOTE, 1)
    assert isinstance(refused.value, NotLearner)


def test_a_change_is_reported_when_it_is_applied_and_a_refused_one_is_not(driver: Driver) -> None:
    founded(driver)
    told: list[frozenset[int]] = []
    driver.listen(membership=lambda membership: told.append(membership.voters))
    add(driver, NEW)
    with pytest.raises(Refusal):
        add(driver, NEW)
    change(driver, Kind.MEMBER_REMOVE, 7)
    assert told == [{1, 2, 7}, {1, 2}]


@pytest.mark.parametrize("kind", [Kind.MEMBER_ADD, Kind.MEMBER_REMOVE, Kind.MEMBER_UPDATE])
def test_a_change_makes_no_revision(driver: Driver, kind: Kind) -> None:
    founded(driver)
    if kind is Kind.MEMBER_ADD:
        add(driver, NEW)
    else:
        change(driver, kind, 1, "http://z:1")
    assert driver.machine.store.revision == 1
