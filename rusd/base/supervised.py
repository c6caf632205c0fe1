"""Background tasks whose failure ends the member.

A task that fails is otherwise a silent loss: asyncio reports the exception when the task object is
collected, if at all, while the work that it did (dialling a peer, removing history) never happens
again. So every background task belongs to a `Tasks`, which logs the name of a failed task and calls
`fail` with its exception. Cancellation is no failure.

Tasks of one request are not background tasks: their exception is the answer of that request.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from rusd.base.logs import get_logger

log = get_logger(__name__)


#: Ends the member because of an error; called on the loop.
Fail = Callable[[BaseException], None]


class Tasks:
    """The background tasks of one component."""

    def __init__(self, fail: Fail) -> None:
        """`fail` is called with the exception of a task that failed."""
        self._fail = fail
        self._running: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._running)

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` to its end. `name` says in the log what failed."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def cancel(self) -> None:
        """Cancel all tasks that run."""
        for task in self._running:
            task.cancel()

    async def finish(self) -> None:
        """Wait until no task runs: threads cannot be cancelled, their tasks end by themselves."""
        while self._running:
            await asyncio.wait(self._running)

    async def stop(self) -> None:
        """Cancel all tasks and wait for their ends. A failure meanwhile still counts."""
        self.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        fields = {"task": task.get_name(), "error": repr(error)}
        log.error("a background task failed", extra={"fields": fields})
        self._fail(error)
