"""Blocking work (files, fsync) in a thread of its own, so that the event loop goes on."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class Worker:
    """One thread. Work is done in the order of the calls, one piece at a time."""

    def __init__(self, name: str) -> None:
        """`name`: of the thread. It starts with the first piece of work."""
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)

    def run(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        """Do `work` in the thread; the future has its result or exception, on the loop."""
        return asyncio.get_running_loop().run_in_executor(self._executor, work)

    def stop(self) -> None:
        """End the thread once its work is done. Call it when nothing runs any more."""
        self._executor.shutdown(wait=False)
