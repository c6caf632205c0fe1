"""Numbers of a `/metrics` page (Prometheus' text format), and the difference of two."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf, isfinite

#: `name{labels} value`, as etcd and rusd write it (no timestamps).
_LINE = re.compile(r"^([A-Za-z_:][A-Za-z0-9_:]*)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'([A-Za-z_][A-Za-z0-9_]*)="((?:[^"\\]|\\.)*)"')
_LABELS = re.compile(rf"(?:{_LABEL.pattern},?)*")
#: Characters of a line, and samples of a page, beyond which it is no member's.
_LINE_LENGTH = 4096
_SAMPLES = 50_000

_LINES = re.compile(r"[^\r\n]+")

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Histogram:
    """Number of observations at or below each upper bound, and in all."""

    buckets: tuple[tuple[float, float], ...]
    count: float

    def quantile(self, share: float) -> float | None:
        """Return the upper bound of the bucket that holds the quantile; None without observations.

        The true value is not above it. The last bound but infinity stands for values beyond.
        """
        if self.count <= 0:
            return None
        finite = 0.0
        for bound, number in self.buckets:
            finite = bound if bound < inf else finite
            if number >= share * self.count:
                return finite
        return finite

    def since(self, before: Histogram) -> Histogram:
        """Return the observations that came after `before`; a restart in between counts anew."""
        if self.count < before.count:
            return self
        old = dict(before.buckets)
        buckets = tuple((bound, number - old.get(bound, 0.0)) for bound, number in self.buckets)
        return Histogram(buckets, self.count - before.count)


class Metrics:
    """One page."""

    def __init__(self, samples: Mapping[str, Mapping[Labels, float]]) -> None:
        self._samples = samples

    def total(self, name: str, **labels: str) -> float | None:
        """Return the sum of a metric's series that have these labels, None without any."""
        found = [
            value
            for series, value in self._samples.get(name, {}).items()
            if labels.items() <= dict(series).items()
        ]
        return sum(found) if found else None

    def series(self, name: str) -> Iterable[tuple[dict[str, str], float]]:
        """Yield labels and value of each series of a metric."""
        for labels, value in self._samples.get(name, {}).items():
            yield dict(labels), value

    def histogram(self, name: str, **labels: str) -> Histogram | None:
        """Return a histogram, over all of its series that have these labels."""
        buckets: dict[float, float] = {}
        for series, value in self.series(f"{name}_bucket"):
            if labels.items() <= series.items() and (bound := _bound(series)) is not None:
                buckets[bound] = buckets.get(bound, 0.0) + value
        if not buckets:
            return None
        return Histogram(tuple(sorted(buckets.items())), max(buckets.values()))


def parse(page: str, wanted: tuple[str, ...] = ()) -> Metrics:
    """Read a page; `wanted`: prefixes of names, all if empty. Lines that are no samples, or none of
    a finite number, are left out.
    """
    samples: dict[str, dict[Labels, float]] = {}
    count = 0
    for found in _LINES.finditer(page):
        line = found[0]
        if len(line) > _LINE_LENGTH or (wanted and not line.startswith(wanted)):
            continue
        sample = _LINE.match(line)
        # (Labels as a whole first: a search for them takes quadratic time where they have no end.)
        if sample is None or not _LABELS.fullmatch(sample[2] or ""):
            continue
        try:
            number = float(sample[3])
        except ValueError:
            continue
        if not isfinite(number):
            continue
        count += 1
        if count > _SAMPLES:
            break
        samples.setdefault(sample[1], {})[tuple(_LABEL.findall(sample[2] or ""))] = number
    return Metrics(samples)


def _bound(series: Mapping[str, str]) -> float | None:
    """Return the upper bound of a bucket, None if it has none."""
    try:
        return float(series["le"])
    except (KeyError, ValueError):
        return None


def grown(before: Metrics | None, after: Metrics | None, name: str, **labels: str) -> float | None:
    """Return how much a counter grew; one that shrank began anew at a restart."""
    if before is None or after is None:
        return None
    old, new = before.total(name, **labels), after.total(name, **labels)
    if old is None or new is None:
        return None
    return new - old if new >= old else new
