"""A member in the process of the test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from rusd.config import Config
from rusd.member.member import Member


@asynccontextmanager
async def running(config: Config, **hooks: Any) -> AsyncIterator[Member]:
    """Run a member, with `hooks` as of `Member`, as long as the block does.

    Stopped also after a start that failed: its watchdog would count in all tests that follow.
    """
    member = Member(config, **hooks)
    try:
        await member.start()
        yield member
    finally:
        await member.stop()
