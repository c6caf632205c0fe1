"""Run the benchmark and write docs/benchmarks.md.

A run of only a part, or one in which something failed, is shown but not written over the page.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from tests.bench import (
    apiserver,
    archive,
    authenticated,
    fill,
    json_gateway,
    leases,
    million,
    peers,
    restores,
    unary,
    watches,
)
from tests.bench.calls import groups
from tests.bench.kubernetes.report import section_of, with_section
from tests.bench.machine import machine
from tests.bench.plan import Plan, say
from tests.bench.report import render, startup_rows, summary
from tests.bench.rows import Table

PAGE = Path("docs/benchmarks.md")


def run(members: int, plan: Plan) -> list[Table]:
    """Everything that is measured with so many members."""
    tables: list[Table] = []

    def table(heading: str) -> Table:
        tables.append(Table(heading, members, []))
        return tables[-1]

    for group in groups(members):
        rows = table(group.heading)
        rows.attempt(partial(unary.run_group, group, members, plan, rows))
        if group.heading == "Writes":
            rows.attempt(partial(fill.run_new_keys, members, plan, rows))
    rows = table(apiserver.HEADING)
    rows.attempt(partial(apiserver.run, members, plan, rows))
    users = table(authenticated.HEADING)
    users.attempt(partial(authenticated.run, members, plan, users))
    rows = table(peers.HEADING)
    rows.attempt(partial(peers.run, members, plan, rows))
    rows = table(archive.HEADING)
    rows.attempt(partial(archive.run, members, plan, rows))
    rows = table(json_gateway.HEADING)
    rows.attempt(partial(json_gateway.run, members, plan, rows))
    rows = table("Watches")
    rows.attempt(partial(watches.run_fan_out, members, plan, rows))
    rows = table("Leases")
    rows.attempt(partial(leases.run_keep_alives, members, plan, rows))
    memory = table("Start, restart and memory")
    snapshots = table(restores.HEADING)
    latency = table("Long operations: 200 puts of 256 B a second at the leader meanwhile")
    memory.attempt(partial(million.run, members, plan, memory, snapshots, latency))
    memory.attempt(partial(watches.run_idle, members, plan, memory))
    memory.rows[:0] = startup_rows(plan, members)
    return tables


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--repeat", type=int, default=3, help="repetitions of every row")
    parser.add_argument("--seconds", type=float, default=2, help="length of one measurement")
    parser.add_argument(
        "--fresh", action="store_true", help="new clusters for each repetition of the unary rows"
    )
    parser.add_argument("--members", type=int, nargs="+", default=[3, 1])
    parser.add_argument(
        "--only",
        type=re.compile,
        metavar="PATTERN",
        help='only rows where this matches "<n> members: <title>"',
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="one short repetition and a small store",
    )
    parser.add_argument(
        "--output", type=Path, help=f"write the page here in any case (a whole run goes to {PAGE})"
    )
    return parser.parse_args()


def main() -> int:
    chosen = arguments()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="rusd-bench-") as scratch:
        plan = Plan(
            chosen.repeat, chosen.seconds, chosen.fresh, Path(scratch), chosen.members, chosen.only
        )
        if chosen.quick:
            plan.repeat, plan.seconds, plan.long_seconds = 1, 0.5, 1.0
            plan.keys, plan.keys_between, plan.watchers = 50_000, 10_000, 1000
        tables = [table for members in plan.members for table in run(members, plan)]
    page = render(tables, plan, machine())
    print(page)
    failed = any(table.failures for table in tables)
    part = failed or chosen.quick or chosen.only is not None
    output = chosen.output or (None if part else PAGE)
    if output is not None:
        # Written by a run of its own.
        kept = section_of(PAGE.read_text()) if PAGE.exists() else ""
        output.write_text(with_section(page, kept))
        say(f"written: {output}")
    say(summary(tables))
    say(f"{time.monotonic() - started:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
