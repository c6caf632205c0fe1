"""Flags that a member hands to its Raft node."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.member import running
from tests.unit.member.test_interrupted_start import config


@pytest.mark.parametrize("advance", [True, False])
def test_initial_election_tick_advance_decides_whether_the_first_election_is_soon(
    tmp_path: Path, advance: bool
) -> None:
    async def body() -> None:
        flags = replace(config(tmp_path), initial_election_tick_advance=advance)
        async with running(flags) as member:
            assert member._components is not None
            assert member._components.node.driver.config.first_election_soon is advance

    asyncio.run(body())
