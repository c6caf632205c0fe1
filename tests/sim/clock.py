"""An asyncio loop in virtual time, and a member's own view of it."""

import asyncio
from collections.abc import Callable
from typing import Any


class SimLoop(asyncio.BaseEventLoop):
    """Runs what is ready; when nothing is, time jumps to the next timer. Nothing ever waits."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self._selector = _Selector(self)

    def time(self) -> float:
        return self.now

    def _process_events(self, events: list[Any]) -> None:
        """There are no sockets."""

    def _write_to_self(self) -> None:
        """Nobody waits in a selector."""

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """In a "thread": done at once, or when an executor of this simulation says."""
        future: asyncio.Future[Any] = self.create_future()

        def work() -> None:
            if future.cancelled():
                return
            try:
                result = func(*args)
            except Exception as error:  # noqa: BLE001
                # Passed on, as an executor does.
                future.set_exception(error)
            else:
                future.set_result(result)

        if isinstance(executor, SimExecutor):
            executor.start(self, work)
        else:
            self.call_soon(work)
        return future


class _Selector:
    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("nothing is left to happen")
        if timeout > 0:
            self._loop.now += timeout
        return []

    def close(self) -> None:
        """Nothing is held."""


class SimExecutor:
    """A thread that takes a while, and dies with its process."""

    def __init__(
        self,
        alive: Callable[[], bool],
        takes: Callable[[], float],
        done: Callable[[], None] = lambda: None,
    ) -> None:
        """`done` is called behind each piece of work, before the loop knows of it."""
        self._alive = alive
        self._takes = takes
        self._done = done

    def start(self, loop: SimLoop, work: Callable[[], None]) -> None:
        def run() -> None:
            if self._alive():
                work()
                self._done()

        loop.call_later(self._takes(), run)

    def shutdown(self, wait: bool = True) -> None:
        """It has no thread."""


class MemberClock:
    """The loop as one member sees it, whose clock runs faster or slower than the others'."""

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop
        self._rate = 1.0
        self._base = (0.0, 0.0)

    def set_rate(self, rate: float) -> None:
        """From now on; 1.0 is right."""
        self._base = (self._loop.now, self.time())
        self._rate = rate

    def jump(self, seconds: float) -> None:
        """Forward: the machine slept."""
        self._base = (self._loop.now, self.time() + seconds)

    def time(self) -> float:
        world, local = self._base
        return local + (self._loop.now - world) * self._rate

    def call_later(self, delay: float, callback: Any, *args: Any) -> asyncio.TimerHandle:
        return self._loop.call_later(delay / self._rate, callback, *args)

    def call_at(self, when: float, callback: Any, *args: Any) -> asyncio.TimerHandle:
        return self._loop.call_later(max(0.0, when - self.time()) / self._rate, callback, *args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)
