"""Long work on the event loop, in slices.

Work is a generator that yields between slices of some milliseconds and returns its result. `run`
executes it in a task, with a pause after each slice while the loop has other work; `finish`
executes it at once. Starts no thread.
"""

import asyncio
import time
from bisect import bisect_right
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from heapq import merge
from itertools import accumulate, islice
from typing import Any, TypeVar

T = TypeVar("T")
#: Types that `ordered` sorts.
Ordered = TypeVar("Ordered", bytes, tuple[float, int])

#: Items sorted, merged or freed in one slice.
SORTED = 1000

#: Bytes read, copied or joined in one slice: one to two milliseconds.
SLICE_BYTES = 1 << 20
#: Bytes that count as a unit of a `Meter`.
UNIT_BYTES = 1 << 10

#: Part of a slice's time below which other work of the loop counts as none.
_NOTICED = 1 / 8


class Meter:
    """Counts units of work, some microseconds each, and tells when they fill a slice."""

    __slots__ = ("_left",)

    #: Units in a slice.
    SLICE = 1000

    def __init__(self) -> None:
        self._left = self.SLICE

    def passed(self, units: int = 1) -> bool:
        """Adds `units`; returns True if the slice is full, and begins the next one."""
        self._left -= units
        if self._left > 0:
            return False
        self._left = self.SLICE
        return True


def fitting(items: Sequence[bytes]) -> int:
    """Returns how many of the first `items` fit in a slice by their bytes; at least 1."""
    return bisect_right([*accumulate(map(len, items))], SLICE_BYTES) or 1


def divided(items: Iterable[T], size: Callable[[T], int], count: int) -> Iterator[list[T]]:
    """Yield `items` in parts that fit in a slice: `count` at most, and few if they are large."""
    part: list[T] = []
    room = SLICE_BYTES
    for item in items:
        part.append(item)
        room -= size(item)
        if room <= 0 or len(part) == count:
            yield part
            part, room = [], SLICE_BYTES
    if part:
        yield part


def finish(slices: Generator[None, None, T]) -> T:
    """Executes all slices at once; returns the result."""
    while True:
        try:
            next(slices)
        except StopIteration as end:
            result: T = end.value
            return result


def ordered(items: list[Ordered]) -> Generator[None, None, list[Ordered]]:
    """Returns `sorted(items)`, in slices."""
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


def emptied(container: list[Any] | dict[Any, Any]) -> Generator[None, None, None]:
    """Empties a container that nothing uses any more, in slices: to free a million items at once
    takes 0.1 s.
    """
    while container:
        if isinstance(container, dict):
            for _ in range(min(SORTED, len(container))):
                container.popitem()
        else:
            del container[-SORTED:]
        yield


async def rest(worked: float) -> None:
    """Pause after a slice that took `worked` seconds: for one turn of the loop, or as long as the
    slice if other work ran in that turn, since a request takes several turns.
    """
    done = time.perf_counter()
    await asyncio.sleep(0)
    if time.perf_counter() - done > worked * _NOTICED:
        await asyncio.sleep(worked)


async def run(slices: Generator[None, None, T]) -> T:
    """Executes the slices with pauses between them; returns the result."""
    while True:
        began = time.perf_counter()
        try:
            next(slices)
        except StopIteration as end:
            result: T = end.value
            return result
        await rest(time.perf_counter() - began)
