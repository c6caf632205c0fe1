"""The figures as text."""

from __future__ import annotations

from typing import Any

from rusd.utl.printing import grid, human_size

from ..text import printable
from .rates import Row, View

TITLES = (
    *("member", "role", "lag", "reads/s", "writes/s", "events/s", "fsync", "commit", "peer"),
    *("db", "in use", "quota", "watchers", "pending", "cpu", "memory", "fds"),
)


def summary(view: View) -> str:
    """Return a line about the cluster."""
    number = len(view.rows)
    away = f", {view.away} away" if view.away else ""
    leases = "" if view.leases is None else f"   leases {view.leases}"
    term = max((row.term or 0 for row in view.rows), default=0)
    alarms = f"   ALARM {printable(' '.join(view.alarms))}" if view.alarms else ""
    leader = printable(view.leader) or "NONE"
    return (
        f"{number} member{'s' * (number != 1)}{away}   leader {leader}   term {term}   revision "
        f"{view.revision}{leases}{alarms}"
    )


def cells(row: Row) -> list[str]:
    """Return the texts of a row, below TITLES."""
    if row.role == "away":
        return [printable(row.name or row.url), "away", printable(row.error), *[""] * 14]
    return [
        printable(row.name or row.url),
        row.role,
        _number(row.lag),
        _rate(row.reads),
        _rate(row.writes),
        _rate(row.events),
        _latency(row.fsync),
        _latency(row.commit),
        _latency(row.peer),
        _size(row.size),
        _size(row.in_use),
        "" if not row.quota or row.size is None else f"{row.size / row.quota:.0%}",
        _number(row.watchers),
        _number(row.pending),
        "" if row.cpu is None else f"{row.cpu:.0%}",
        _size(row.memory),
        _number(row.descriptors),
    ]


def table(view: View) -> str:
    """Return everything as text."""
    rows = [cells(row) for row in view.rows]
    for row in rows:
        if row[1] == "away":
            row[2] = ""
    told = [
        f"{printable(row.name or row.url)}: {printable(row.error)}"
        for row in view.rows
        if row.error
    ]
    return "\n".join((summary(view), grid(TITLES, rows), *told))


def as_json(view: View) -> dict[str, Any]:
    """Return everything as one object."""
    return {
        "leader": view.leader,
        "revision": view.revision,
        "leases": view.leases,
        "alarms": list(view.alarms),
        "members": [vars(row) for row in view.rows],
    }


def _number(value: int | None) -> str:
    return "" if value is None else str(value)


def _rate(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 10 or value == 0 else f"{value:.1f}"


def _latency(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.1f} s" if value >= 1 else f"{value * 1000:.3g} ms"


def _size(value: int | None) -> str:
    return "" if value is None else human_size(value)
