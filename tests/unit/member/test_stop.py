"""A member that stops takes every step of it, whatever becomes of the others."""

import asyncio
from pathlib import Path

import pytest

from rusd.member.member import Member
from tests.support.member import running
from tests.unit.member.test_interrupted_start import config


class FaultError(Exception):
    """An error that no code here expects."""


@pytest.mark.parametrize("part", ["node", "door", "http", "compactor"])
def test_a_part_that_cannot_stop_keeps_no_other_from_it(tmp_path: Path, part: str) -> None:
    async def body() -> None:
        member = Member(config(tmp_path))
        await member.start()
        components = member._components
        assert components is not None
        stop = getattr(components, part).stop

        async def stops_and_fails(*arguments: float) -> None:
            await stop(*arguments)
            raise FaultError

        getattr(components, part).stop = stops_and_fails
        with pytest.raises(FaultError):
            await member.stop()
        assert not member._tasks
        # The state and the journal are free.
        async with running(config(tmp_path)):
            pass

    asyncio.run(body())
