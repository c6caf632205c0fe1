"""Port: the part of an event loop that keeps time, so that a test can hold the clock."""

from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """A pending call."""

    def cancel(self) -> None:
        """Do not make the call."""


class Loop(Protocol):
    """A clock, and calls at its times."""

    def time(self) -> float:
        """Monotonic seconds."""

    def call_later(self, delay: float, callback: Callable[[], None], /) -> Timer:
        """Call `callback` once after `delay` seconds."""
