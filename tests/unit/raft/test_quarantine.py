"""A member whose disk holds less than it has said takes no part until it has caught up."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from rusd.raft.core.quarantine import Quarantine
from rusd.raft.errors import RequestTimeout
from rusd.raft.read.waiting import Read, Reads
from rusd.raft.transport.incarnations import Incarnations, begin_recovering
from tests.unit.raft.cluster import Cluster, until


class Scene:
    """A quarantine whose leader and reads the test is."""

    def __init__(self, directory: Path) -> None:
        begin_recovering(directory, 3)
        self.reads: list[Read] = []
        self.votes: list[int] = []
        self.core = SimpleNamespace(leader=0, is_leader=False)
        self.core.vote_for_leader = lambda: self.votes.append(self.core.leader)
        self.lives = Incarnations(directory)
        #: Whether it was over when the vote was made durable.
        self.over: list[bool] = []
        flush = lambda: self.over.append(not Incarnations(directory).own.recovering)  # noqa: E731
        self.core.log = SimpleNamespace(flush=flush)
        reading = SimpleNamespace(add=self.reads.append)
        self.quarantine = Quarantine(cast(Any, self.core), self.lives, cast(Any, reading), 5.0)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_a_leader_that_nobody_confirms_does_not_end_it(scene: Scene) -> None:
    scene.quarantine.step(0.0)
    assert not scene.reads, "nobody to ask"
    scene.core.leader = 1
    for now in range(4):
        scene.quarantine.step(float(now))
    assert scene.quarantine.active
    assert len(scene.reads) == 1


def test_a_read_that_is_answered_ends_it_for_good(scene: Scene, tmp_path: Path) -> None:
    scene.core.leader = 1
    scene.quarantine.step(0.0)
    scene.reads.pop().done(None)
    assert not scene.quarantine.active
    assert scene.votes == [1], "what it voted in this term is forgotten"
    assert not Incarnations(tmp_path).own.recovering


def test_the_vote_for_the_leader_is_durable_before_it_ends(scene: Scene) -> None:
    scene.core.leader = 1
    scene.quarantine.step(0.0)
    scene.reads.pop().done(None)
    assert scene.over == [False]


def test_it_does_not_end_while_there_is_no_leader_to_vote_for(scene: Scene) -> None:
    scene.core.leader = 1
    scene.quarantine.step(0.0)
    scene.core.leader = 0
    scene.reads.pop().done(None)
    assert scene.quarantine.active
    scene.core.leader = 2
    scene.quarantine.step(1.0)
    scene.reads.pop().done(None)
    assert (scene.quarantine.active, scene.votes) == (False, [2])


def test_a_state_that_takes_longer_than_a_call_ends_it_though_others_write_on(
    scene: Scene,
) -> None:
    reads = Reads()
    scene.core.leader = 1
    scene.quarantine.step(0.0)
    reads.add(scene.reads.pop())
    (question,) = reads.ask(0.0)
    reads.answered(question, 7)
    for now in range(1, 1000):
        reads.expire(float(now), RequestTimeout)
        scene.quarantine.step(float(now))
    assert not scene.reads, "the index of a new question would be ahead of the state again"
    reads.applied(7)
    assert not scene.quarantine.active


def test_a_read_that_fails_is_asked_again(scene: Scene) -> None:
    scene.core.leader = 1
    scene.quarantine.step(0.0)
    scene.reads.pop().done(RequestTimeout())
    assert scene.quarantine.active
    scene.quarantine.step(1.0)
    assert len(scene.reads) == 1


def test_an_answer_from_before_does_not_end_it(scene: Scene) -> None:
    scene.core.leader = 1
    scene.quarantine.step(0.0)
    before = scene.reads.pop()
    scene.quarantine.begin(7)
    before.done(None)
    assert scene.quarantine.active
    assert (scene.lives.own.replaces, scene.lives.own.number) == (7, 8)


def test_it_outlives_a_restart(scene: Scene, tmp_path: Path) -> None:
    assert Incarnations(tmp_path).own.recovering


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
            await until(lambda: cluster.nodes[1]._peers.connected() == {2})
            await asyncio.sleep(2 * node.config.election)
            assert not any(each.leader_id for each in cluster.nodes.values())
            await cluster.start(3)
            await until(lambda: not node._quarantine.active)
            await cluster.kill(3)
            async with asyncio.timeout(20):
                await node.propose(b"two")

    asyncio.run(body())
