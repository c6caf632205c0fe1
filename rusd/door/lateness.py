"""Timers that run late do not judge clients.

While the loop or the whole process stands still (SIGSTOP, a suspended machine) nothing is read, and
what clients sent in time waits in the kernel. A timer that is due then may run before it is read.
"""

import asyncio
from collections.abc import Callable

#: Seconds by which a timer may be late and still judge.
LATE_SECONDS = 1.0


def is_late(due: float, now: float) -> bool:
    """Return whether a timer that was due at `due` runs late."""
    return now - due > LATE_SECONDS


class Timeout:
    """Calls `expired` after `seconds`; while it runs late or `excused`, `LATE_SECONDS` later."""

    __slots__ = ("_due", "_excused", "_expired", "_loop", "_timer")

    def __init__(
        self, seconds: float, expired: Callable[[], None], excused: Callable[[], bool] | None = None
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._expired = expired
        self._excused = excused
        self._wait(seconds)

    def cancel(self) -> None:
        self._timer.cancel()

    def _wait(self, seconds: float) -> None:
        self._due = self._loop.time() + seconds
        self._timer = self._loop.call_at(self._due, self._run)

    def _run(self) -> None:
        late = is_late(self._due, self._loop.time())
        if late or (self._excused is not None and self._excused()):
            self._wait(LATE_SECONDS)
        else:
            self._expired()
