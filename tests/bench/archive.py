"""Puts while the leader archives every committed entry, and without."""

from __future__ import annotations

from functools import partial

from tests.bench.calls import PUT, PUT_PATH, STREAMS
from tests.bench.load import measure
from tests.bench.plan import Plan, say
from tests.bench.rows import Row, Table
from tests.bench.subjects import Subject, in_turn
from tests.bench.unary import per_thousand

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
                table.attempt(partial(_measure, subject, plan, row))
                say(f"{members}: {row.title}: {row.latest(subject.name)}")
        if not any((plan.scratch / "backups").rglob("*")):
            table.failures.append("nothing was archived")
    finally:
        for subject in started:
            subject.cluster.close()


def _measure(subject: Subject, plan: Plan, row: Row) -> None:
    before = subject.cpu_seconds()
    url = subject.url("leader")
    got = measure(url, [PUT_PATH], PUT, STREAMS, plan.seconds, plan.warm_up, plan.scratch)
    used = subject.cpu_seconds() - before
    row.add(
        subject.name,
        **{
            "calls/s": got.rate,
            "ms": got.latency_ms,
            "CPU s per 1,000": per_thousand(got, used, plan),
        },
    )
