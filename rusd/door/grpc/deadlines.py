"""Deadlines of all calls in one timer, exact to `TICK`.

A client ends its call itself when its deadline passes; the server only has to free what the call
holds. Calls are kept in slots of `TICK` seconds, which costs a dictionary entry a call, no timer.
When a slot is due, each connection gets its calls at once and ends them in its own time: a tick
costs O(1) for a connection, however many of its deadlines coincide.
"""

import asyncio

from rusd.door.ports import DeadlineOwner, TimedCall

TICK = 0.05


class Deadlines:
    """Deadlines of the calls of one door."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._slots: dict[int, dict[DeadlineOwner, dict[TimedCall, None]]] = {}
        #: The last slot that was emptied.
        self._done = 0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, owner: DeadlineOwner, call: TimedCall, deadline: float) -> int:
        """Pass `call` to `owner` once `deadline` (loop time, seconds) has passed; return its
        slot.
        """
        if self._timer is None:
            self._done = int(self._loop.time() / TICK)
            self._timer = self._loop.call_later(TICK, self._tick)
        slot = max(int(deadline / TICK), self._done) + 1
        self._slots.setdefault(slot, {}).setdefault(owner, {})[call] = None
        return slot

    def remove(self, owner: DeadlineOwner, call: TimedCall, slot: int) -> None:
        """Remove a call that has ended."""
        owners = self._slots.get(slot)
        calls = None if owners is None else owners.get(owner)
        if owners is not None and calls is not None:
            calls.pop(call, None)
            if not calls:
                del owners[owner]
                if not owners:
                    del self._slots[slot]

    def _tick(self) -> None:
        now = int(self._loop.time() / TICK)
        for slot in range(self._done + 1, now + 1):
            for owner, calls in self._slots.pop(slot, {}).items():
                owner.expire(calls)
        self._done = now
        self._timer = self._loop.call_later(TICK, self._tick) if self._slots else None
