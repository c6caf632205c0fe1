"""Failures while a snapshot is installed: before its commit the stream ends, from then on
the member does.

Both went unseen: no test let a step of an install fail, and the simulation's disk fails in the
journal only.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from rusd.raft.log.journal import Journal
from rusd.raft.node import RaftNode
from rusd.raft.ports import CheckpointError, Position
from tests.support.toy_machine import ToyMachine, ToyPrepared
from tests.unit.raft.cluster import Cluster, payload, until


class FaultError(Exception):
    """A step that fails."""


async def needs_a_snapshot(cluster: Cluster) -> int:
    """Returns a stopped member that no log can bring up to date."""
    leader = await cluster.leader()
    away, _ = await cluster.followers()
    await cluster.kill(away.member_id)
    for number in range(60):
        await leader.propose(payload(number))
    await until(lambda: leader.driver.journal.first_index > 40)
    return away.member_id


def scenario(directory: Path, body: Callable[[Cluster, int], object]) -> None:
    async def run() -> None:
        async with Cluster(directory, snapshot_count=20, catchup_entries=5) as cluster:
            await body(cluster, await needs_a_snapshot(cluster))  # type: ignore[misc]

    asyncio.run(run())


def recovers(directory: Path) -> None:
    """The member that could not use the first snapshot installs the next one."""

    async def body(cluster: Cluster, member: int) -> None:
        node = await cluster.start(member)
        machine = cluster.machines[member]
        await until(lambda: machine.restored or node.driver.stopped, 20)
        assert not node.driver.stopped
        assert len(await cluster.equal()) == 60

    scenario(directory, body)


def test_a_checkpoint_that_cannot_be_opened_ends_the_stream_not_the_member(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare, failures = ToyMachine.prepare, [CheckpointError("No space left on device")]

    def once(self: ToyMachine, checkpoint: Path) -> ToyPrepared:
        if failures:
            raise failures.pop()
        return prepare(self, checkpoint)

    monkeypatch.setattr(ToyMachine, "prepare", once)
    recovers(tmp_path)
    assert not failures


def test_a_checkpoint_that_ends_too_early_is_never_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare, short = ToyMachine.prepare, [True]

    def once(self: ToyMachine, checkpoint: Path) -> ToyPrepared:
        prepared = prepare(self, checkpoint)
        if short:
            short.pop()
            prepared.position = Position(3, 1)
        return prepared

    monkeypatch.setattr(ToyMachine, "prepare", once)
    recovers(tmp_path)
    assert not short


@pytest.mark.parametrize(
    ("owner", "step"),
    [(ToyPrepared, "commit"), (ToyPrepared, "install"), (Journal, "settle")],
    ids=["commit", "install", "settle"],
)
def test_no_turn_runs_behind_a_failed_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: type, step: str
) -> None:
    """The state may be the new one already, while the core is still at the old one."""

    async def body(cluster: Cluster, member: int) -> None:
        node = await cluster.start(member)
        turns: list[int] = []
        failed: list[bool] = []

        def fail(self: object) -> None:
            # (`settle` is also called by the compactions of the other members.)
            if self is node.driver.journal or owner is ToyPrepared:
                failed.append(True)
                raise FaultError
            works(self)

        works = getattr(owner, step)
        monkeypatch.setattr(owner, step, fail)
        count_turns(node, failed, turns)
        with pytest.raises(FaultError):
            async with asyncio.timeout(20):
                await node.wait_failed()
        await until(lambda: not node.driver.incoming._tasks)
        assert failed
        assert not turns
        monkeypatch.undo()

    def count_turns(node: RaftNode, failed: list[bool], turns: list[int]) -> None:
        work = node._core.step

        def counted(*arguments: object) -> object:
            if failed:
                turns.append(node.applied_index)
            return work(*arguments)  # type: ignore[arg-type]

        node._core.step = counted  # type: ignore[method-assign,assignment]

    scenario(tmp_path, body)
