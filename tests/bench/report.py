"""The page docs/benchmarks.md: tables of what was measured, then what was written by hand."""

from __future__ import annotations

import statistics
from pathlib import Path

from tests.bench.plan import Plan
from tests.bench.rows import SERVERS, Row, Table, number
from tests.support.pair import oracle_version

#: Explanations: appended as they are, so that a new run does not lose them.
NOTES = Path(__file__).with_name("notes.md")

HEAD = """# Benchmarks

rusd beside etcd {etcd}, on one machine, in one run, taking turns. Command: `make bench` (needs Go
and `h2load`, Debian package nghttp2-client). Both clusters run all the time with the same flags,
one of them under load at a time; load generators share the machine with them. Each number is the
median of {repeat} run(s) of {seconds:g} s after {warm_up:g} s of warm-up.
Read the ratios, not the absolutes: **above 1, rusd is ahead**, also where less is better.

Machine: {machine}.
"""


def render(tables: list[Table], plan: Plan, machine: str) -> str:
    """The whole page, as Markdown."""
    head = HEAD.format(
        etcd=".".join(map(str, oracle_version())),
        repeat=plan.repeat,
        seconds=plan.seconds,
        warm_up=plan.warm_up,
        machine=machine,
    )
    parts = [head]
    for members in sorted({table.members for table in tables}, reverse=True):
        parts.append(f"\n## {'One member' if members == 1 else f'{members} members'}\n")
        for table in tables:
            if table.members == members and (table.rows or table.failures):
                parts.append(f"\n### {table.heading}\n\n{rendered(table)}\n")
    parts.append("\n" + NOTES.read_text())
    return "".join(parts)


def rendered(table: Table) -> str:
    """Rows with the same columns stand together; one without any measurement joins the last."""
    kinds: dict[tuple[str, ...], list[Row]] = {}
    last: tuple[str, ...] = ()
    for row in table.rows:
        last = tuple(row.columns) or last
        kinds.setdefault(last, []).append(row)
    blocks = []
    for columns, rows in kinds.items():
        titles = [f"{server} {column}" for column in columns for server in SERVERS]
        head = "| | ratio |" + "".join(f" {title} |" for title in titles)
        head += "\n|---|" + "---:|" * (1 + len(titles))
        blocks.append("\n".join([head, *(line(row, columns) for row in rows)]))
    blocks += [f"Failed: {failure}" for failure in table.failures]
    return "\n\n".join(blocks)


def line(row: Row, columns: tuple[str, ...]) -> str:
    ratio = row.ratio()
    cells = [row.title, "-" if ratio is None else f"**{ratio:.2f}**"]
    for column in columns:
        for server in SERVERS:
            cells.append(row.remarks.get(server) or number(row.median(column, server)))
    return "| " + " | ".join(cells) + " |"


def startup_rows(plan: Plan, members: int) -> list[Row]:
    """Return the start-up times of all starts of the run."""
    row = Row("start-up, empty, to all members healthy", "s", more_is_better=False)
    if not plan.wants(members, row.title):
        return []
    for server in SERVERS:
        row.columns["s"][server] = list(plan.startups.get((members, server), []))
    return [row] if any(row.columns["s"].values()) else []


def summary(tables: list[Table]) -> str:
    """Ratios at a glance, for the terminal."""
    ratios = [
        (ratio, f"{table.members}: {row.title}")
        for table in tables
        for row in table.rows
        if (ratio := row.ratio()) is not None
    ]
    if not ratios:
        return "nothing was measured"
    middle = statistics.median(ratio for ratio, _ in ratios)
    behind = [f"  {ratio:5.2f}  {title}" for ratio, title in sorted(ratios) if ratio < 1]
    return "\n".join(
        [f"{len(ratios)} rows, median ratio {middle:.2f}, behind in {len(behind)}:", *behind]
    )
