"""A loop whose process can stand still, by its own clock."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Clock(asyncio.SelectorEventLoop):
    #: Seconds by which its time is ahead.
    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


def the_clock() -> Clock:
    """The running loop."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Clock)
    return loop


def on_a_clock(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=Clock) as runner:
        runner.run(main())
