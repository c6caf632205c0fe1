"""Puts with and without TLS between the members."""

from __future__ import annotations

from functools import partial

from cluster.certificates import Authority
from tests.bench.calls import STREAMS
from tests.bench.plan import Plan, say
from tests.bench.rows import Row, Table
from tests.bench.subjects import in_turn, running
from tests.bench.unary import measure_put

HEADING = "TLS between members"


def run(members: int, plan: Plan, table: Table) -> None:
    """Measure one kind of put on clusters without TLS between members, and with it."""
    titles = {on: f"put 256 B, leader, {STREAMS}, peers {_over(on)}" for on in (False, True)}
    if members == 1 or not any(plan.wants(members, title) for title in titles.values()):
        return
    authority = Authority(plan.scratch / "peers")
    for on, title in titles.items():
        row = Row(title, "calls/s")
        table.rows.append(row)
        with running(members, plan, authority.peer_tls() if on else None) as subjects:
            for turn in plan.turns():
                for subject in in_turn(subjects, turn):
                    table.attempt(partial(measure_put, subject, plan, row))
                    say(f"{members}: {title}: {subject.name}: {row.latest(subject.name)}")


def _over(tls: bool) -> str:
    return "over TLS" if tls else "without TLS"
