"""Observations counted in buckets: what a room keeps of durations and sizes.

An observation is a search in a short tuple and two additions; metrics are made of it when they are
read (`rusd/observe/`).
"""

from bisect import bisect_left


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


def exponential(first: float, factor: float, count: int) -> tuple[float, ...]:
    """Bounds that grow by `factor` each, computed as Go's Prometheus client does."""
    bounds = []
    for _ in range(count):
        bounds.append(first)
        first *= factor
    return tuple(bounds)


#: Seconds of an operation on the disk, as etcd's buckets.
DISK_SECONDS = exponential(0.001, 2, 14)
