"""A background task of the member that fails ends the member."""

import asyncio
from typing import cast

import pytest

from rusd.config import Config
from rusd.member.assemble import Components
from rusd.member.member import Background, Member


class FaultError(Exception):
    """An error that no code here expects."""


class Node:
    async def wait_failed(self) -> None:
        await asyncio.Event().wait()


class Component:
    """A component of the member whose background task may fail."""

    def __init__(self, fails: bool) -> None:
        self._fails = fails

    async def run(self) -> None:
        await asyncio.sleep(0)
        if self._fails:
            raise FaultError
        await asyncio.Event().wait()

    async def check_every(self, interval: float) -> None:
        await self.run()

    check_compactions_every = check_every


TASKS = (
    "lessor",
    "low_disk_transfer",
    "member_list",
    "sessions",
    "sessions",
    "backups",
    "archiver",
    "auto_compaction",
    "corruption",
    "round_trips",
    "cluster_version",
    "console",
)


@pytest.mark.parametrize("failing", TASKS)
def test_a_failed_background_task_ends_the_member(
    failing: str,
) -> None:
    class Configured:
        corrupt_check_time = compact_hash_check_time = 1.0
        compact_hash_check = enable_console = True

    class Built:
        node = Node()
        machine = type("Machine", (), {"members": None})

    for name in TASKS:
        setattr(Built, name, Component(name == failing))

    async def body() -> None:
        member = Member(cast(Config, Configured))
        member._failure = asyncio.get_running_loop().create_future()
        works: list[tuple[str, Background]] = list(member._background(cast(Components, Built)))
        assert len({name for name, _ in works}) == len(works)
        for name, work in works:
            member._tasks.start(name, work)
        with pytest.raises(FaultError):
            async with asyncio.timeout(10):
                await member.wait_failed()
        await member._tasks.stop()

    asyncio.run(body())
