"""Waiting for a condition of a program that tells of none."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait(
    look: Callable[[], T | None],
    failure: str | Callable[[], str],
    timeout: float,
    pause: float = 0.1,
) -> T:
    """Return what `look` finds, as soon as it finds something. Raises AssertionError with `failure`
    if it finds nothing in time.
    """
    deadline = time.monotonic() + timeout
    while (found := look()) is None:
        if time.monotonic() > deadline:
            raise AssertionError(failure if isinstance(failure, str) else failure())
        time.sleep(pause)
    return found
