"""A bound on long reads under way; the calls beyond it wait without holding data."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from rusd.base.chunks import Chunks
from rusd.base.pending import Pending
from rusd.rpc.responses import Response


class ConcurrencyLimit:
    """Runs at most `limit` tasks at once."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._running = 0
        self._queue: deque[Pending[None]] = deque()

    def start(
        self,
        work: Callable[[], Coroutine[Any, Any, bytes | Chunks]],
        retry: Callable[[], Response],
    ) -> Response:
        """Returns the response of `work`, run in a task, if the limit allows it now; else that of
        `retry`, called in its turn. `retry` may call `start` again.
        """
        if self._running >= self._limit:
            return self._wait(retry)
        self._running += 1
        task = asyncio.get_running_loop().create_task(work())
        task.add_done_callback(self._ended)
        return task

    async def _wait(self, retry: Callable[[], Response]) -> bytes | Chunks:
        turn: Pending[None] = Pending()
        self._queue.append(turn)
        try:
            await turn
            response = retry()
        finally:
            # Used, failed or cancelled: the turn goes to the next.
            turn.cancel()
            self._next()
        return response if isinstance(response, bytes | Chunks) else await response

    def _ended(self, task: asyncio.Task[bytes | Chunks]) -> None:
        self._running -= 1
        self._next()

    def _next(self) -> None:
        while self._queue and self._running < self._limit:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
