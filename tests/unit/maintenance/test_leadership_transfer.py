"""A leader short of disk space hands leadership to a voter that is not, once."""

import asyncio
from pathlib import Path

import pytest

from rusd.base.errors import Refusal
from rusd.maintenance.disk_space import RESERVE, DiskSpace
from rusd.maintenance.leadership_transfer import RETRY_INTERVAL, TRANSFEREE_FREE, LowDiskTransfer
from rusd.raft.errors import AnsweredWithError, RequestTimeout
from rusd.raft.node import PeerStatus
from rusd.raft.transport.requests import Handler

MEMBERS = (1, 2, 3)
UNKNOWN = AnsweredWithError(12, "no such question: space")


class Cluster:
    """Three members, each with its disk and its watch over it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.leader = 1
        self.transfers: list[tuple[int, int]] = []
        self.free = dict.fromkeys(MEMBERS, 10 * RESERVE)
        self.match = dict.fromkeys(MEMBERS, 7)
        self.connected = set(MEMBERS)
        self.voters = set(MEMBERS)
        self.failures: dict[int, Refusal] = {}
        self.nodes = {member: Node(self, member) for member in MEMBERS}
        self.members = {
            member: LowDiskTransfer(
                self.nodes[member],
                DiskSpace([Path("/")], lambda _, member=member: self.free[member]),  # type: ignore[misc]
                lambda: self.voters,
                lambda: self.now,
            )
            for member in MEMBERS
        }

    def look(self, times: int = 1) -> int:
        """Every member looks; the leader afterwards."""

        async def look() -> None:
            for _ in range(times):
                self.now += 1.0
                for member in self.members.values():
                    await member.check()

        asyncio.run(look())
        return self.leader


class Node:
    def __init__(self, cluster: Cluster, member: int) -> None:
        self._cluster = cluster
        self._member = member
        self.handler: Handler

    @property
    def is_leader(self) -> bool:
        return self._cluster.leader == self._member

    def serve(self, kind: str, handler: Handler) -> None:
        self.handler = handler

    async def ask(self, member_id: int, kind: str, body: bytes, timeout: float) -> bytes:
        if member_id in self._cluster.failures:
            raise self._cluster.failures[member_id]
        return await self._cluster.nodes[member_id].handler(self._member, body)

    def peer_status(self) -> dict[int, PeerStatus]:
        cluster = self._cluster
        return {
            member: PeerStatus(member in cluster.connected, cluster.match[member])
            for member in MEMBERS
            if member != self._member
        }

    async def transfer_leadership(self, target: int) -> None:
        self._cluster.transfers.append((self._member, target))
        self._cluster.leader = target


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def test_a_leader_with_room_stays(cluster: Cluster) -> None:
    cluster.free[1] = RESERVE
    assert cluster.look(5) == 1


def test_the_most_advanced_voter_with_room_takes_over(cluster: Cluster) -> None:
    cluster.free[1] = RESERVE - 1
    cluster.match[3] = 8
    assert cluster.look() == 3


def test_a_voter_that_is_nearly_short_is_handed_nothing(cluster: Cluster) -> None:
    cluster.free |= {1: RESERVE - 1, 3: TRANSFEREE_FREE - 1}
    cluster.match[3] = 8
    assert cluster.look() == 2


@pytest.mark.parametrize("error", [RequestTimeout(), UNKNOWN])
def test_a_silent_voter_is_handed_nothing_one_of_an_earlier_release_as_the_last_resort(
    cluster: Cluster, error: Refusal
) -> None:
    cluster.free |= {1: RESERVE - 1, 2: 0}
    cluster.failures[3] = error
    assert cluster.look() == (3 if error is UNKNOWN else 1)


def test_a_voter_with_room_goes_before_one_that_cannot_say(cluster: Cluster) -> None:
    cluster.free[1] = RESERVE - 1
    cluster.match[3] = 8
    cluster.failures[3] = UNKNOWN
    assert cluster.look() == 2


def test_neither_learners_nor_members_that_are_away_are_handed_leadership(
    cluster: Cluster,
) -> None:
    cluster.free[1] = RESERVE - 1
    cluster.voters = {1, 2}
    cluster.connected = {1, 3}
    assert cluster.look() == 1


def test_leadership_does_not_go_around_among_members_that_are_short(cluster: Cluster) -> None:
    cluster.free = dict.fromkeys(MEMBERS, RESERVE - 1)
    assert cluster.look(60) == 1
    assert cluster.transfers == []


def test_leadership_does_not_go_back_and_forth_at_the_limit(cluster: Cluster) -> None:
    cluster.free |= {1: RESERVE - 1, 3: 0}
    assert cluster.look() == 2
    for second in range(60):
        cluster.free[1], cluster.free[2] = (RESERVE - 1, RESERVE)[:: 1 if second % 2 else -1]
        cluster.look()
    assert cluster.transfers == [(1, 2)]


def test_it_is_tried_again_after_a_while(cluster: Cluster) -> None:
    cluster.free = dict.fromkeys(MEMBERS, RESERVE - 1)
    cluster.look()
    cluster.free[2] = TRANSFEREE_FREE
    assert cluster.look(int(RETRY_INTERVAL) - 1) == 1
    assert cluster.look(2) == 2
