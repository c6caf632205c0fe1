"""A member whose start is cancelled, at whatever step, stops in order and can start again."""

import asyncio
import os
from collections.abc import Coroutine, Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

from rusd.config import Config
from rusd.member.member import Member
from tests.support.member import running
from tests.support.ports import free_urls


class Interrupted:
    """Awaits `work`, but cancels it at its suspension number `at` (from 0)."""

    def __init__(self, work: Coroutine[Any, Any, None], at: int) -> None:
        self._work = work
        self._at = at
        self.suspensions = 0

    def __await__(self) -> Generator[Any, Any, None]:
        try:
            waited = self._work.send(None)
            while True:
                self.suspensions += 1
                if self.suspensions > self._at:
                    yield waited
                    waited = self._work.throw(asyncio.CancelledError())
                else:
                    yield waited
                    waited = self._work.send(None)
        except StopIteration:
            return


def config(root: Path, client: str = "http://127.0.0.1:0") -> Config:
    (peer,) = free_urls(1)
    return Config(
        data_dir=str(root),
        initial_cluster=f"default={peer}",
        initial_advertise_peer_urls=(peer,),
        listen_peer_urls=(peer,),
        listen_client_urls=(client,),
        listen_metrics_urls=("http://127.0.0.1:0",),
        experimental_initial_corrupt_check=True,
        corrupt_check_time=60.0,
    )


async def interrupt(at: int, root: Path) -> bool:
    """Start a member and cancel that at one suspension; whether the start had so many."""
    member = Member(config(root))
    started = Interrupted(member.start(), at)
    cancelled = False
    try:
        await started
    except asyncio.CancelledError:
        cancelled = True
    await member.stop()
    return cancelled or started.suspensions > at


def test_a_start_cancelled_at_any_step_is_stopped_in_order(tmp_path: Path) -> None:
    steps = 0
    while asyncio.run(interrupt(steps, tmp_path / "data")):
        steps += 1
    assert steps >= 2


def sockets() -> int:
    """The number of open sockets of this process."""
    found = 0
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # that of the directory
            found += os.readlink(f"/proc/self/fd/{descriptor}").startswith("socket:")
    return found


async def stop_after(turns: int, root: Path) -> bool:
    """Stop a member some turns of the loop after its start; whether it was ready then."""
    ready = asyncio.Event()
    flags = config(root)
    before = sockets()
    async with running(flags, on_ready=ready.set):
        for _ in range(turns):
            await asyncio.sleep(0)
        served = ready.is_set()
    assert sockets() == before
    return served


def test_a_member_stopped_before_it_serves_clients_listens_no_more(tmp_path: Path) -> None:
    turns = 1
    while not asyncio.run(stop_after(turns, tmp_path / "data")):
        turns *= 2
    assert turns > 1


def test_a_member_that_was_never_started_can_be_stopped(tmp_path: Path) -> None:
    asyncio.run(Member(config(tmp_path)).stop())
