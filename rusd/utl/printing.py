"""etcdutl's forms of output: simple, fields, json, table."""

import json
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Column(NamedTuple):
    """One fact, and what each form calls it."""

    title: str
    field: str
    json: str
    value: int | str
    text: str


def human_size(size: int) -> str:
    """Return bytes in powers of 1,000, two digits: 5 kB, 1.5 MB, 46 MB."""
    if size < 10:
        return f"{size} B"
    value, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB", "TB", "PB", "EB"):
        if value < 1000 or unit == "EB":
            break
        value /= 1000
    rounded = int(value * 10 + 0.5) / 10
    return f"{rounded:.0f} {unit}" if rounded >= 10 or unit == "B" else f"{rounded:.1f} {unit}"


def simple(columns: Sequence[Column]) -> str:
    """Return the texts, joined by commas."""
    return ", ".join(column.text for column in columns)


def fields(columns: Sequence[Column]) -> str:
    """Return a line for each column."""
    return "\n".join(f'"{column.field}" : {column.value}' for column in columns)


def as_json(columns: Sequence[Column]) -> str:
    """Return one JSON object."""
    return json.dumps({one.json: one.value for one in columns}, separators=(",", ":"))


def table(columns: Sequence[Column]) -> str:
    """Return a table of one row."""
    return grid([one.title for one in columns], [[one.text for one in columns]])


def grid(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows below their titles."""
    widths = [max(map(len, column)) + 2 for column in zip(titles, *rows, strict=True)]
    line = "+" + "+".join("-" * width for width in widths) + "+"
    head = "|".join(f"{one.upper():^{width}}" for one, width in zip(titles, widths, strict=True))
    body = (
        "|".join(f"{text:>{width - 1}} " for text, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "\n".join((line, f"|{head}|", line, *(f"|{row}|" for row in body), line))


FORMS: dict[str, Callable[[Sequence[Column]], str]] = {
    "simple": simple,
    "fields": fields,
    "json": as_json,
    "table": table,
}
