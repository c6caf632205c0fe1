"""etcdctl's forms of output: simple, json, and table for lists."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from rusd.utl.printing import grid

FORMS = ("simple", "json", "table")


def line(text: str) -> None:
    """Write a line."""
    raw(text.encode(errors="surrogateescape"))


def raw(data: bytes) -> None:
    """Write a line of any bytes, as keys and values are."""
    sys.stdout.buffer.write(data + b"\n")


def as_json(message: Any) -> None:
    """Write a message as one line."""
    line(json.dumps(message, separators=(",", ":"), ensure_ascii=False))


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write rows below their titles."""
    line(grid(titles, rows))


def duration(seconds: float) -> str:
    """Return a duration as Go writes it."""
    for unit, length in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= length:
            return f"{seconds / length:.9g}{unit}"
    return f"{round(seconds * 1e9)}ns"
