"""Results: rows of numbers per server, their medians and the ratio."""

from __future__ import annotations

import statistics
import traceback
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

#: The servers, in the order they are shown.
SERVERS = ("rusd", "etcd")


@dataclass
class Row:
    """A line of a table. `columns`: title -> server -> one number per repetition."""

    title: str
    #: The column the ratio is taken of.
    judged: str
    #: Whether larger numbers in it are better (rates) or smaller ones (times, memory).
    more_is_better: bool = True
    columns: dict[str, dict[str, list[float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    #: Said instead of numbers, by server ("not served").
    remarks: dict[str, str] = field(default_factory=dict)

    def add(self, server: str, **values: float) -> None:
        """One repetition; keywords are column titles with _ for spaces."""
        for name, value in values.items():
            self.columns[name.replace("_", " ")][server].append(value)

    def median(self, column: str, server: str) -> float | None:
        """None where this server was not measured."""
        values = self.columns[column][server] if column in self.columns else []
        return statistics.median(values) if values else None

    def ratio(self) -> float | None:
        """Above 1, rusd is ahead; None unless both were measured."""
        mine, theirs = (self.median(self.judged, server) for server in SERVERS)
        if mine is None or theirs is None:
            return None
        above, below = (mine, theirs) if self.more_is_better else (theirs, mine)
        return above / below if below > 0 else None

    def latest(self, server: str) -> str:
        """Return the values added last, for the progress output."""
        return ", ".join(
            f"{number(values[server][-1])} {name}"
            for name, values in self.columns.items()
            if values[server]
        )


@dataclass
class Table:
    """Rows with the same columns, under a heading."""

    heading: str
    members: int
    rows: list[Row]
    #: Why there are fewer rows than expected.
    failures: list[str] = field(default_factory=list)

    def attempt(self, part: Callable[[], None]) -> bool:
        """Do a part; one that fails is said to have failed, and the others go on. True if done."""
        try:
            part()
        except Exception as error:  # noqa: BLE001
            traceback.print_exc()
            said = (str(error).splitlines() or [""])[0][:200]
            self.failures.append(f"{type(error).__name__}: {said}")
            return False
        return True


def number(value: float | None) -> str:
    """The digits that matter."""
    if value is None:
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:.2g}"
