"""`stop` releases everything that a member holds, whatever went wrong before or within it."""

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rusd.raft.driver import Driver
from rusd.raft.log.journal import Journal, JournalError
from rusd.raft.node import RaftNode
from rusd.raft.transport.incarnations import IncarnationsDamaged
from tests.unit.raft.cluster import Cluster


class FaultError(Exception):
    """An error that no code here expects."""


def fault(*_: Any, **__: Any) -> Any:
    raise FaultError


def full(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


def restarts(cluster: Cluster, member: int) -> None:
    """The journal, the port and the state of a stopped member can be opened again."""
    Journal(cluster.directory / str(member) / "wal").close()


async def a_stop(
    tmp_path: Path, harm: Callable[[RaftNode], object], expected: type[BaseException] | None
) -> None:
    async with Cluster(tmp_path) as cluster:
        await cluster.leader()
        node = cluster.nodes.pop(1)
        before = len(os.listdir("/proc/self/fd"))
        harm(node)
        if expected is None:
            with pytest.raises(FaultError):
                async with asyncio.timeout(10):
                    await node.wait_failed()
            await node.stop()
        else:
            with pytest.raises(expected):
                await node.stop()
        restarts(cluster, 1)
        assert not node.driver.peers._all or all(one.ended for one in node.driver.peers._all)
        assert not node.driver.peers._tasks
        assert len(os.listdir("/proc/self/fd")) < before
        await node.stop()
        cluster.machines[1].close()
        # The port is free.
        await cluster.start(1)
        await cluster.leader()


def test_a_member_whose_turn_failed_holds_nothing_after_its_stop(tmp_path: Path) -> None:
    def harm(node: RaftNode) -> None:
        node.driver.core.step = fault  # type: ignore[method-assign]

    asyncio.run(a_stop(tmp_path, harm, None))


def test_a_member_whose_last_flush_fails_holds_nothing_and_says_so_once(tmp_path: Path) -> None:
    def harm(node: RaftNode) -> None:
        node.driver.journal.flush = full  # type: ignore[method-assign]
        # No turn before the stop: the last flush is the first one to fail.
        node.driver._held = True

    asyncio.run(a_stop(tmp_path, harm, OSError))


@pytest.mark.parametrize("part", ["peers", "streams", "incoming", "_compaction"])
def test_a_part_that_cannot_stop_keeps_no_other_from_it(tmp_path: Path, part: str) -> None:
    def harm(node: RaftNode) -> None:
        stop = getattr(node.driver, part).stop

        async def stops_and_fails() -> None:
            await stop()
            raise FaultError

        getattr(node.driver, part).stop = stops_and_fails

    asyncio.run(a_stop(tmp_path, harm, FaultError))


def test_a_flush_in_the_thread_that_fails_during_the_stop_is_raised_by_it(tmp_path: Path) -> None:
    def harm(node: RaftNode) -> None:
        driver = node.driver
        driver._held = True
        driver._flushing = asyncio.get_running_loop().run_in_executor(driver._flusher, full)

    asyncio.run(a_stop(tmp_path, harm, OSError))


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (lambda home, _: (home / "life").write_bytes(b"{"), IncarnationsDamaged),
        (lambda _, machine: setattr(machine, "sync", full), OSError),
    ],
)
def test_a_member_that_cannot_be_built_leaves_its_journal_free(
    tmp_path: Path, damage: Callable[[Path, Any], object], error: type[Exception]
) -> None:
    async def body() -> None:
        cluster = Cluster(tmp_path, 1)
        await cluster.start(1)
        await cluster.kill(1)
        node = await cluster.start(1)
        config, machine = node.config, cluster.machines[1]
        await node.stop()
        damage(tmp_path / "1", machine)
        with pytest.raises(error):
            RaftNode(config, machine)
        restarts(cluster, 1)
        machine.close()

    asyncio.run(body())


def test_a_journal_that_failed_before_is_no_second_error_of_the_stop(tmp_path: Path) -> None:
    async def body() -> None:
        async with Cluster(tmp_path, 1) as cluster:
            node = await cluster.leader()
            node.driver.journal._segments.append = full  # type: ignore[method-assign]
            node.propose(b"x").add_done_callback(lambda done: done.exception())
            with pytest.raises(OSError, match="No space"):
                async with asyncio.timeout(10):
                    await node.wait_failed()
            with pytest.raises(JournalError):
                node.driver.journal.flush()
            await node.stop()
            restarts(cluster, 1)

    asyncio.run(body())


def test_what_was_only_built_is_released(tmp_path: Path) -> None:
    async def body() -> None:
        cluster = Cluster(tmp_path, 1)
        await cluster.start(1)
        await cluster.kill(1)
        first = await cluster.start(1)
        await cluster.kill(1)
        machine = cluster.machines[1]
        machine = type(machine)(tmp_path / "1" / "state")
        node = RaftNode(first.config, machine)
        assert isinstance(node.driver, Driver)
        await node.stop()
        restarts(cluster, 1)
        machine.close()

    asyncio.run(body())
