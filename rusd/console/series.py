"""Numbers over time, of what the rooms count: rates, states, and percentiles of durations.

A series is read once in an interval. Rates and percentiles are those of the interval: differences
of counters, and of the buckets of distributions, between which values are interpolated.
"""

import math
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Protocol

from rusd.base.distribution import Distribution


class Series(Protocol):
    """One or more columns."""

    @property
    def names(self) -> tuple[str, ...]:
        """The columns, with their units."""

    def read(self, seconds: float) -> tuple[float, ...]:
        """Return the values of the last `seconds`; NaN where there was nothing to measure."""


class State:
    """A number as it is."""

    def __init__(self, name: str, now: Callable[[], float]) -> None:
        self.names = (name,)
        self._now = now

    def read(self, seconds: float) -> tuple[float, ...]:
        return (self._now(),)


class Rate:
    """How much a counter grows in a second, times `factor`."""

    def __init__(self, name: str, count: Callable[[], float], factor: float = 1) -> None:
        self.names = (name,)
        self._count = count
        self._factor = factor
        self._last = count()

    def read(self, seconds: float) -> tuple[float, ...]:
        last, self._last = self._last, self._count()
        # (A counter of a member that took over other data may begin anew.)
        return (max(0.0, self._last - last) / seconds * self._factor,)


class Percentiles:
    """The 50th and 99th percentile of durations, in milliseconds."""

    def __init__(self, name: str, durations: Callable[[], Sequence[Distribution]]) -> None:
        """`durations`: in seconds, with the same bounds."""
        self.names = (f"{name}_p50_ms", f"{name}_p99_ms")
        self._durations = durations
        self._last = self._counts()

    def read(self, seconds: float) -> tuple[float, ...]:
        last, self._last = self._last, self._counts()
        new = [now - before for now, before in zip(self._last, last, strict=True)]
        bounds = self._durations()[0].bounds
        return tuple(1000 * percentile(bounds, new, share) for share in (0.5, 0.99))

    def _counts(self) -> list[int]:
        return [
            sum(counts) for counts in zip(*(one.counts for one in self._durations()), strict=True)
        ]


def percentile(bounds: Sequence[float], counts: Sequence[int], share: float) -> float:
    """Return the value that `share` of the observations do not exceed; NaN without any.

    `counts`: of the buckets with these upper bounds, and of one without; there its lower bound
    stands for the value.
    """
    wanted = share * sum(counts)
    if wanted <= 0:
        return math.nan
    below = 0.0
    for upto, count, lower, upper in zip(
        accumulate(counts), counts, (0.0, *bounds), (*bounds, bounds[-1]), strict=True
    ):
        if upto >= wanted:
            return lower + (upper - lower) * (wanted - below) / count
        below = upto
    return bounds[-1]
