"""Calls whose long response is not generated yet, since their client has not read earlier ones.

A service asks `wait_writable` before it builds a long answer. While more than `MUCH` bytes wait for
the client, or the memory budget has no space for this connection, it gets something to wait for
instead. When bytes were written, at most `AT_ONCE` calls go on together: each builds its answer
before any of them is queued.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from rusd.base.pending import Pending
from rusd.door.memory_budget import MemoryBudget

#: Bytes queued for a client above which no long answer is made.
MUCH = 4 << 20
#: Calls that go on together, and seconds until the next.
AT_ONCE = 4
RETRY_SECONDS = 0.01


class AnswerQueue:
    """The calls of one connection that wait for space."""

    __slots__ = ("_allows_small", "_exceeds_share", "_loop", "_memory", "_queued", "_waiting")

    def __init__(
        self,
        memory: MemoryBudget,
        queued: Callable[[], int],
        exceeds_share: Callable[[], bool],
        allows_small: Callable[[], bool],
    ) -> None:
        """`queued`: bytes that wait for the client; `exceeds_share`: whether the connection must
        not hold more; `allows_small`: whether it may hold a small answer all the same.
        """
        self._loop = asyncio.get_running_loop()
        self._memory = memory
        self._queued = queued
        self._exceeds_share = exceeds_share
        self._allows_small = allows_small
        self._waiting: OrderedDict[Pending[None], None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def wait(self, *, small: bool = False) -> Pending[None] | None:
        """None if an answer may be made now; else resolves when it may. Cancel it to give up.

        `small`: the answer holds one value at most.
        """
        if small and self._allows_small():
            return None
        exceeds = self._exceeds_share()
        if self._queued() <= MUCH and not exceeds:
            return None
        waiting: Pending[None] = Pending()
        self._waiting[waiting] = None
        waiting.add_done_callback(self._leave)
        if exceeds:
            self._memory.wait_for_space(self.resume)
        return waiting

    def _leave(self, waiting: Pending[None]) -> None:
        self._waiting.pop(waiting, None)

    def resume(self) -> None:
        """Resume waiting calls if there is space."""
        if not self._waiting:
            return
        if self._exceeds_share():
            self._memory.wait_for_space(self.resume)
        elif self._queued() <= MUCH:
            for _ in range(min(AT_ONCE, len(self._waiting))):
                self._waiting.popitem(last=False)[0].set_result(None)
            # (Their calls may have ended, and cause no write after which to resume.)
            self._loop.call_later(RETRY_SECONDS, self.resume)

    def close(self) -> None:
        """The connection has ended."""
        self._memory.forget(self.resume)
