"""Background work of authentication: expired tokens, and watchers without permission."""

import asyncio
import contextlib
from collections.abc import Generator
from typing import Protocol

from rusd.auth.providers import TokenProvider
from rusd.base import sliced

#: Seconds between two looks at the tokens, as in etcd.
EXPIRY_INTERVAL = 1.0


class Watches(Protocol):
    """Watchers that can be checked again (rusd/api/watch.py)."""

    def recheck(self) -> Generator[None, None, None]:
        """Check every watcher again, in slices."""


class Sessions:
    """Forgets expired tokens; checks watchers again after users or roles changed."""

    def __init__(self, tokens: TokenProvider, watches: Watches) -> None:
        self._tokens = tokens
        self._watches = watches
        self._changed = asyncio.Event()

    def auth_changed(self) -> None:
        """Check watchers again: users, roles, permissions or the state of authentication
        changed.
        """
        self._changed.set()

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EXPIRY_INTERVAL):
                    await self._changed.wait()
            self._tokens.expire()
            if self._changed.is_set():
                self._changed.clear()
                await sliced.run(self._watches.recheck())
