"""Puts while the leader archives every committed entry, and without."""

from __future__ import annotations

from functools import partial

from tests.bench.calls import STREAMS
from tests.bench.plan import Plan, say
from tests.bench.rows import Row, Table
from tests.bench.subjects import Subject, in_turn
from tests.bench.unary import measure_put

HEADING = "Archive of committed entries (etcd has none)"


def run(members: int, plan: Plan, table: Table) -> None:
    """Two clusters of rusd take turns: one archives every second, the other makes no backups."""
    titles = [f"put 256 B, leader, {STREAMS}, {how}" for how in ("no backups", "archived every 1s")]
    if members == 1 or not any(plan.wants(members, title) for title in titles):
        return
    rows = [Row(title, "calls/s") for title in titles]
    table.rows += rows
    flags = ["--backup-interval=1h", "--backup-archive-interval=1s"]
    flags += [f"--backup-dir={plan.scratch / 'backups'}"]
    started = []
    try:
        for more in ((), flags):
            started.append(Subject("rusd", members, flags=more))
        cases = dict(zip(map(id, started), rows, strict=True))
        for turn in plan.turns():
            for subject in in_turn(started, turn):
                row = cases[id(subject)]
                table.attempt(partial(measure_put, subject, plan, row))
                say(f"{members}: {row.title}: {row.latest(subject.name)}")
        if not any((plan.scratch / "backups").rglob("*")):
            table.failures.append("nothing was archived")
    finally:
        for subject in started:
            subject.cluster.close()
