"""Values and distributions, read when a scrape asks for them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from rusd.base.distribution import Distribution


@dataclass(frozen=True, slots=True)
class Sample:
    """One value."""

    #: As etcd names it, `_total` included where etcd has it.
    name: str
    help: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    #: Whether the value never decreases.
    counter: bool = False


@dataclass(frozen=True, slots=True)
class Histogram:
    """One distribution."""

    name: str
    help: str
    distribution: Distribution
    labels: Mapping[str, str] = field(default_factory=dict)


class Source(Protocol):
    """A component that provides samples."""

    def read(self) -> Iterable[Sample | Histogram]:
        """Return the current samples."""
