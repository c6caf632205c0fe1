"""A member whose disk holds less than it has said takes no part until it has caught up."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from rusd.raft.core.quarantine import Quarantine
from rusd.raft.errors import RequestTimeout
from rusd.raft.ids import first_number
from rusd.raft.read.waiting import Read, WaitingReads
from rusd.raft.transport import incarnations
from rusd.raft.transport.incarnations import Incarnations, begin_recovering, end_recovering
from tests.unit.raft.cluster import Cluster, until


class Scene:
    """A quarantine whose leader and reads the test is."""

    def __init__(self) -> None:
        self.reads: list[Read] = []
        self.votes: list[int] = []
        self.raft = SimpleNamespace(leader=0, is_leader=False)
        self.raft.vote_for_leader = lambda: self.votes.append(self.raft.leader)
        reads = SimpleNamespace(add=self.reads.append)
        self.quarantine = Quarantine(cast(Any, self.raft), cast(Any, reads), 5.0, active=True)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_an_unconfirmed_leader_does_not_end_it(scene: Scene) -> None:
    scene.quarantine.step()
    assert not scene.reads, "nobody to ask"
    scene.raft.leader = 1
    for _ in range(4):
        assert not scene.quarantine.step()
    assert len(scene.reads) == 1


def test_a_read_that_is_answered_ends_it_once_the_vote_for_the_leader_is_durable(
    scene: Scene,
) -> None:
    scene.raft.leader = 1
    scene.quarantine.step()
    scene.reads.pop().done(None)
    assert scene.quarantine.has_answer
    assert scene.quarantine.step()
    assert scene.votes == [1], "what it voted in this term is forgotten"
    assert scene.quarantine.active, "nothing is flushed yet"
    scene.quarantine.end()
    assert not scene.quarantine.active


def test_it_does_not_end_while_there_is_no_leader_to_vote_for(scene: Scene) -> None:
    scene.raft.leader = 1
    scene.quarantine.step()
    scene.raft.leader = 0
    scene.reads.pop().done(None)
    assert not scene.quarantine.step()
    scene.raft.leader = 2
    assert not scene.quarantine.step()
    scene.reads.pop().done(None)
    assert scene.quarantine.step()
    assert scene.votes == [2]


def test_a_state_that_takes_longer_than_a_call_ends_it_though_others_write_on(
    scene: Scene,
) -> None:
    reads = WaitingReads(first_number())
    scene.raft.leader = 1
    scene.quarantine.step()
    reads.add(scene.reads.pop())
    (request,) = reads.ask(0.0)
    reads.answered(request, 7)
    for now in range(1, 1000):
        assert reads.expire(float(now), RequestTimeout) == []
        assert not scene.quarantine.step()
    assert not scene.reads, "the index of a new request would be ahead of the state again"
    ((done, result),) = reads.release(7)
    done(result)
    assert scene.quarantine.step()


def test_a_read_that_fails_is_asked_again(scene: Scene) -> None:
    scene.raft.leader = 1
    scene.quarantine.step()
    scene.reads.pop().done(RequestTimeout())
    assert not scene.quarantine.step()
    assert len(scene.reads) == 1


def test_an_answer_from_before_does_not_end_it(scene: Scene) -> None:
    scene.raft.leader = 1
    scene.quarantine.step()
    before = scene.reads.pop()
    scene.quarantine.begin()
    before.done(None)
    assert not scene.quarantine.step()
    assert scene.quarantine.active


def test_it_outlives_a_restart_and_its_end_does_too(tmp_path: Path) -> None:
    begin_recovering(tmp_path, 3)
    assert Incarnations(tmp_path).own.recovering
    Incarnations(tmp_path).recovered()
    assert not Incarnations(tmp_path).own.recovering


def test_without_a_quorum_of_others_nothing_is_elected_and_with_one_it_ends(
    tmp_path: Path,
) -> None:
    async def body() -> None:
        async with Cluster(tmp_path) as cluster:
            leader = await cluster.leader()
            await leader.propose(b"one")
            for member in cluster.members:
                await cluster.kill(member)
            begin_recovering(tmp_path / "2", 9)
            await cluster.start(1)
            node = await cluster.start(2)
            await until(lambda: cluster.nodes[1].driver.peers.connected() == {2})
            await asyncio.sleep(2 * node.config.election)
            assert not any(each.leader_id for each in cluster.nodes.values())
            await cluster.start(3)
            await until(lambda: not node._core.in_quarantine)
            await cluster.kill(3)
            async with asyncio.timeout(20):
                await node.propose(b"two")

    asyncio.run(body())


def test_two_members_that_were_started_very_often_while_a_third_was_away_form_a_cluster_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third names an incarnation of each that is none of the newest that a hello holds."""
    monkeypatch.setattr(incarnations, "MAX_PAST", 8)

    async def body() -> None:
        async with Cluster(tmp_path) as cluster:
            leader = await cluster.leader()
            await leader.propose(b"before")
            await cluster.equal()
            for member in (3, 1, 2):
                await cluster.kill(member)
            for member in (1, 2):
                for _ in range(20):
                    Incarnations(tmp_path / str(member)).said()
            for member in (1, 2, 3):
                await cluster.start(member)
            leader = await cluster.leader()
            await leader.propose(b"after")
            assert await cluster.equal() == ["before", "after"]
            assert not any(node._core.in_quarantine for node in cluster.nodes.values())
            peers = [node.driver.peers for node in cluster.nodes.values()]
            await until(lambda: all(len(one.connected()) == 2 for one in peers))

    asyncio.run(body())


def test_a_member_that_an_operator_lets_go_on_alone_is_in_quarantine_no_more(
    tmp_path: Path,
) -> None:
    """Found by the simulation in 1 of 3,000 schedules: a member was to go on alone, led never."""
    begin_recovering(tmp_path, 3)
    before = Incarnations(tmp_path).own
    end_recovering(tmp_path)
    after = Incarnations(tmp_path).own
    assert (before.recovering, after.recovering) == (True, False)
    assert after.directory == before.directory
    end_recovering(tmp_path)
