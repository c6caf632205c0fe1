"""Long work, a few pieces at a time; the others wait without holding anything."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from rusd.base.pending import Pending
from rusd.rpc.responses import Response
from rusd.wire.chunks import Chunks


class Few:
    """At most so many tasks at once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._running = 0
        self._queue: deque[Pending[None]] = deque()

    def start(
        self,
        work: Callable[[], Coroutine[Any, Any, bytes | Chunks]],
        again: Callable[[], Response],
    ) -> Response:
        """The answer of `work` if it may begin now; else that of `again`, called in its turn (it
        may come back here)."""
        if self._running >= self._most:
            return self._wait(again)
        self._running += 1
        task = asyncio.get_running_loop().create_task(work())
        task.add_done_callback(self._ended)
        return task

    async def _wait(self, again: Callable[[], Response]) -> bytes | Chunks:
        turn: Pending[None] = Pending()
        self._queue.append(turn)
        try:
            await turn
            answer = again()
        finally:
            # Whatever became of this one, its turn is used or goes to the next.
            turn.cancel()
            self._next()
        return answer if isinstance(answer, bytes | Chunks) else await answer

    def _ended(self, task: asyncio.Task[bytes | Chunks]) -> None:
        self._running -= 1
        self._next()

    def _next(self) -> None:
        while self._queue and self._running < self._most:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
