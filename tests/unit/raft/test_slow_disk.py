"""A disk that takes half a second for everything holds up no loop while a snapshot is sent."""

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rusd.raft.snapshots import transfer
from tests.support.toy_machine import ToyMachine, ToyPrepared
from tests.unit.raft.cluster import Cluster, payload, until

#: Seconds that each of these takes.
SLOW = 0.5


def test_the_loop_goes_on_while_a_slow_disk_sends_and_installs_a_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop_thread = threading.get_ident()
    used: dict[str, int] = {}

    def slow(owner: Any, name: str) -> None:
        fast: Callable[..., Any] = getattr(owner, name)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            assert threading.get_ident() != loop_thread, name
            used[name] = used.get(name, 0) + 1
            before = ticks
            time.sleep(SLOW)
            # A loop that waits for this call never ticks; one of a busy machine does some time.
            deadline = time.monotonic() + 20
            while ticking and ticks < before + 2:
                assert time.monotonic() < deadline, f"the loop waits for {name}"
                time.sleep(0.005)
            return fast(*args, **kwargs)

        monkeypatch.setattr(owner, name, wrapped)

    ticks = 0
    ticking: asyncio.Task[None] | None = None

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.005)
            ticks += 1

    async def body() -> None:
        nonlocal ticking
        settings = {"snapshot_count": 20, "catchup_entries": 5, "election_ms": 2000}
        async with Cluster(tmp_path, **settings) as cluster:
            leader = await cluster.leader()
            (away, other) = await cluster.followers()
            await cluster.kill(away.member_id)
            for number in range(80):
                await leader.propose(payload(number))
            await until(lambda: leader.driver.journal.first_index > 50)
            term = leader.term
            for owner, name in (
                (ToyMachine, "checkpoint"),
                (ToyMachine, "prepare"),
                (ToyMachine, "sync"),
                (ToyPrepared, "commit"),
                (ToyPrepared, "release"),
                (transfer.SnapshotSender, "take"),
                (transfer.SnapshotReceiver, "frame"),
            ):
                slow(owner, name)
            # What a start does is done before the member serves.
            with monkeypatch.context() as starting:
                starting.setattr(ToyMachine, "sync", lambda self: None)
                await cluster.start(away.member_id)
            node = cluster.nodes[away.member_id]
            ticking = asyncio.create_task(tick())
            heard: list[float] = []
            async with asyncio.timeout(60):
                while cluster.machines[away.member_id].restored == 0:
                    began = time.perf_counter()
                    assert await other.propose(b"8") > 0
                    heard.append(time.perf_counter() - began)
                    await asyncio.sleep(0.02)
            await until(lambda: node.applied_index == leader.applied_index, 30)
            ticking.cancel()
            ticking = None
            assert (leader.is_leader, leader.term) == (True, term)
            assert max(heard) < 2
            monkeypatch.undo()

    asyncio.run(body())
    assert used.keys() >= {"checkpoint", "take", "frame", "prepare", "commit", "release"}
