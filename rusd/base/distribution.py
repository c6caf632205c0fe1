"""Observations counted in buckets: what a room keeps of durations and sizes.

An observation is a search in a short tuple and two additions; metrics are made of it when they are
read (`rusd/observe/`).
"""

from bisect import bisect_left
from math import inf


class Distribution:
    """Counts of observations by size, and their sum."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        """`bounds`: upper bounds of the buckets, ascending; one more is unbounded."""
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one observation."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def within(self, bounds: tuple[float, ...]) -> "Distribution":
        """Return the same observations in fewer buckets: `bounds` are some of the own ones."""
        found = Distribution(bounds)
        for bound, count in zip((*self.bounds, inf), self.counts, strict=True):
            found.counts[bisect_left(bounds, bound)] += count
        found.sum = self.sum
        return found


def exponential(first: float, factor: float, count: int) -> tuple[float, ...]:
    """Bounds that grow by `factor` each, computed as Go's Prometheus client does."""
    bounds = []
    for _ in range(count):
        bounds.append(first)
        first *= factor
    return tuple(bounds)


#: Seconds of an operation on the disk, as etcd's buckets.
DISK_SECONDS = exponential(0.001, 2, 14)
#: The same, and smaller ones: most operations take less than the first of etcd's.
FINE_DISK_SECONDS = (*exponential(0.001 / 16, 2, 4), *DISK_SECONDS)
