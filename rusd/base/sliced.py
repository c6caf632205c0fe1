"""Long work on the loop, a slice at a time, sharing it fairly with whoever else is there."""

import asyncio
import time
from collections.abc import Generator
from heapq import merge
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
#: Anything that can be sorted.
Ordered = TypeVar("Ordered", bytes, tuple[float, int])

#: Items sorted, or merged, in one slice.
SORTED = 1000

#: Work of others that takes less than this part of a slice's time is not worth stepping aside for.
_NOTICED = 1 / 8


class Meter:
    """Counts work in units of some microseconds: when a slice of many small steps is full."""

    __slots__ = ("_left",)

    #: Units in a slice.
    SLICE = 1000

    def __init__(self) -> None:
        self._left = self.SLICE

    def passed(self, units: int = 1) -> bool:
        """So many units were done; true if they fill a slice, and the next one begins."""
        self._left -= units
        if self._left > 0:
            return False
        self._left = self.SLICE
        return True


def finish(slices: Generator[None, None, T]) -> T:
    """The result of sliced work, at once."""
    while True:
        try:
            next(slices)
        except StopIteration as end:
            result: T = end.value
            return result


def ordered(items: list[Ordered]) -> Generator[None, None, list[Ordered]]:
    """`sorted(items)`, in slices."""
    if len(items) <= SORTED:
        return sorted(items)
    runs = []
    for start in range(0, len(items), SORTED):
        runs.append(sorted(items[start : start + SORTED]))
        yield
    found: list[Ordered] = []
    merged = merge(*runs)
    while part := list(islice(merged, SORTED)):
        found += part
        yield
    return found


async def rest(worked: float) -> None:
    """Between two slices, the last of which took `worked` seconds: let the others go on.

    If there are any, for as long again, since what they do takes several turns of the loop.
    """
    done = time.perf_counter()
    await asyncio.sleep(0)
    if time.perf_counter() - done > worked * _NOTICED:
        await asyncio.sleep(worked)


async def run(slices: Generator[None, None, T]) -> T:
    """The result of work that yields between its slices."""
    while True:
        began = time.perf_counter()
        try:
            next(slices)
        except StopIteration as end:
            result: T = end.value
            return result
        await rest(time.perf_counter() - began)
