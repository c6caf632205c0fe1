"""An apply that takes many turns: all else goes on, and what waits for it waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from rusd.raft.errors import RequestTimeout, Stopped
from rusd.raft.ports import LogEntry, Position
from tests.unit.raft.cluster import ELECTION_MS, Cluster, until
from tests.unit.raft.cores import Member, entries


def run(directory: Path, scenario: Callable[[Cluster], Awaitable[None]]) -> None:
    async def body() -> None:
        async with Cluster(directory) as cluster:
            await scenario(cluster)

    asyncio.run(body())


def hold(cluster: Cluster, held: bool) -> None:
    for machine in cluster.machines.values():
        machine.held = held


def test_a_long_apply_holds_up_only_what_waits_for_it(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        follower = (await cluster.followers())[0]
        await leader.propose(b"before")
        await cluster.equal()
        hold(cluster, True)
        term, applied = leader.term, leader.applied_index
        long = leader.propose(b"long")
        await until(lambda: all(node.driver.apply.busy for node in cluster.nodes.values()))
        later = [node.propose(b"later") for node in (leader, follower)]
        reads = [node.read_index() for node in (leader, follower)]
        # Both proposals are committed while nobody applies, and nobody campaigns.
        end = asyncio.get_running_loop().time() + 3 * ELECTION_MS / 1000
        await until(lambda: leader.commit_index >= applied + 2)
        await until(lambda: asyncio.get_running_loop().time() > end)
        assert {node.applied_index for node in cluster.nodes.values()} == {applied}
        assert not any(one.done() for one in (long, *later, *reads))
        hold(cluster, False)
        assert await long == 2
        for one in (*later, *reads):
            await one
        assert leader.term == term
        assert leader.is_leader
        assert await cluster.equal() == ["before", "long", "later", "later"]

    run(tmp_path, scenario)


def test_a_call_whose_request_is_being_applied_is_not_given_up(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        hold(cluster, True)
        long = leader.propose(b"long")
        await until(lambda: leader.driver.apply.busy)
        behind = leader.propose(b"behind")
        leader._core._expire(leader.clock.now() + 1000)
        await until(behind.done)
        assert isinstance(behind.exception(), RequestTimeout)
        assert not long.done()
        hold(cluster, False)
        assert await long == 1

    run(tmp_path, scenario)


def test_stopping_in_the_midst_of_a_long_apply_ends_its_call(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        hold(cluster, True)
        long = leader.propose(b"long")
        await until(lambda: leader.driver.apply.busy)
        await cluster.kill(leader.member_id)
        assert isinstance(long.exception(), Stopped)
        hold(cluster, False)
        await cluster.start(leader.member_id)
        machines = cluster.machines
        await until(lambda: all(one.payloads == ["long"] for one in machines.values()))

    run(tmp_path, scenario)


def test_a_snapshot_takes_the_place_of_entries_that_are_being_applied(tmp_path: Path) -> None:
    follower = Member(2, [1, 3], tmp_path)
    groups: list[list[LogEntry]] = []

    def go_on(group: list[LogEntry]) -> int:
        groups.append(group)
        return 0

    follower.core.apply = go_on
    follower.append(1, 1, (1, 0), entries(2, 9, 1), commit=9)
    follower.core.tick()
    follower.core.tick()
    assert groups == [entries(2, 9, 1)] * 2
    assert follower.core.applied_index == 1
    follower.installed(Position(20, 1), Position(19, 1))
    follower.append(1, 1, (20, 1), entries(21, 22, 1), commit=22)
    follower.core.tick()
    assert groups[-1] == entries(21, 22, 1)
