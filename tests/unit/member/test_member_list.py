"""A member that its peers say was removed, and its own log."""

import asyncio
from collections.abc import Callable, Mapping

import pytest

from rusd.member import member_list
from rusd.member.errors import RemovedByPeers
from rusd.member.identity import Identity
from rusd.member.member_list import MemberList
from rusd.raft.node import PeerStatus
from rusd.raft.ports import Membership
from rusd.raft.transport.member_query import Cluster

OWN, OTHER, CLUSTER = 1, 2, 77


class Node:
    """A Raft node that is busy until it is told otherwise."""

    member_id, leader_id, is_leader, is_learner = OWN, 0, False, False

    def __init__(self) -> None:
        self.settled = False
        self.looks = 0
        self.answered = False

    def __getattribute__(self, name: str) -> object:
        if name == "settled":
            self.looks += 1
        return super().__getattribute__(name)

    def connected_since(self, member: int) -> float | None:
        return None

    def peer_status(self) -> Mapping[int, PeerStatus]:
        return {}

    def meet(self, membership: Membership, index: int) -> None:
        raise AssertionError("the answer names no member that is left")


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Node:
    """One whose peers say that it was removed."""
    node = Node()

    async def ask_all(*_: object, **__: object) -> list[Cluster]:
        node.answered = True
        return [Cluster(CLUSTER, Membership(frozenset({OTHER}), removed=frozenset({OWN})))]

    monkeypatch.setattr(member_list, "ask_all", ask_all)
    for name in ("UNDER_WAY", "POLL"):
        monkeypatch.setattr(member_list, name, 0.0)
    return node


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


def begin(node: Node) -> "asyncio.Task[None]":
    watched = MemberList(node, Identity(OWN, CLUSTER), lambda: {OTHER: ("http://other:1",)})
    watched.removal_reported()
    return asyncio.create_task(watched.run())


def test_a_member_whose_log_has_work_left_does_not_end_by_what_peers_say(node: Node) -> None:
    async def scenario() -> None:
        running = begin(node)
        await until(lambda: node.looks > 20)
        assert not running.done()
        node.settled = True
        with pytest.raises(RemovedByPeers):
            await running

    asyncio.run(scenario())


def test_a_member_whose_log_never_gets_on_ends_by_what_peers_say(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(member_list, "PATIENCE", 0.0)

    async def scenario() -> None:
        with pytest.raises(RemovedByPeers):
            await begin(node)

    asyncio.run(scenario())


def test_the_leaders_commit_may_arrive_behind_a_peers_answer(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(member_list, "UNDER_WAY", 3600.0)
    node.settled = True

    async def scenario() -> None:
        running = begin(node)
        await until(lambda: node.answered)
        for _ in range(20):
            await asyncio.sleep(0)
        assert not running.done()
        running.cancel()

    asyncio.run(scenario())
