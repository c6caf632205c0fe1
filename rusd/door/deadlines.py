"""Deadlines of calls, watched together: one timer for all, exact to a few hundredths of a second.

A client ends its call itself when its deadline passes; that the server ends it too only frees what
the call holds. So calls are kept in baskets of `TICK` seconds, which costs a dictionary entry per
call and no timer.
"""

import asyncio
from typing import Protocol

TICK = 0.05


class Timed(Protocol):
    """A call that has a deadline."""

    def expired(self) -> None:
        """It has passed."""


class Deadlines:
    """The calls of one door that have one."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._baskets: dict[int, dict[Timed, None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, call: Timed, deadline: float) -> int:
        """Tell `call` when `deadline` (loop time, seconds) has passed; returns its basket."""
        basket = int(deadline / TICK) + 1
        self._baskets.setdefault(basket, {})[call] = None
        if self._timer is None:
            self._timer = self._loop.call_later(TICK, self._tick)
        return basket

    def remove(self, call: Timed, basket: int) -> None:
        """The call is over."""
        calls = self._baskets.get(basket)
        if calls is not None:
            calls.pop(call, None)
            if not calls:
                del self._baskets[basket]

    def _tick(self) -> None:
        now = int(self._loop.time() / TICK)
        for basket in [one for one in self._baskets if one <= now]:
            for call in list(self._baskets.pop(basket)):
                call.expired()
        self._timer = self._loop.call_later(TICK, self._tick) if self._baskets else None
