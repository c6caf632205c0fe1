"""A large store: memory on the way to a million keys, restart, restores and long operations."""

from __future__ import annotations

import time

from tests.bench import long_operations, restores
from tests.bench.fill import BATCH, TXNS_AT_ONCE, fill
from tests.bench.plan import Plan, say
from tests.bench.rows import Row, Table
from tests.bench.subjects import Subject, in_turn, running


def memory_row(title: str) -> Row:
    return Row(title, "MiB", more_is_better=False)


def add_memory(row: Row, subject: Subject) -> None:
    """Mean of the members: all of it, and without mapped files."""
    memory = subject.mean_memory()
    row.add(subject.name, MiB=memory.resident, MiB_anonymous=memory.anonymous)


def run(members: int, plan: Plan, memory: Table, snapshots: Table, latency: Table) -> None:
    """Fill, look, restart, look; then the restores and the long operations."""
    some, all_ = f"{plan.keys_between:,} keys", f"{plan.keys:,} keys"
    fresh = memory_row("resident memory, fresh")
    between = memory_row(f"resident memory, {some}")
    full = memory_row(f"resident memory, {all_}")
    restarted = memory_row(f"resident memory, {all_}, after restart")
    restart = Row(f"restart with {all_}", "s", more_is_better=False)
    rate = Row(f"fill to {all_}, txns of {BATCH} puts, {TXNS_AT_ONCE} at once", "puts/s")
    rows = [rate, restart, fresh, between, full, restarted]
    operations = long_operations.wanted(members, plan)
    made = restores.wanted(members, plan)
    if not operations and not made and not any(plan.wants(members, row.title) for row in rows):
        return
    memory.rows += [row for row in rows if plan.wants(members, row.title)]
    with running(members, plan) as subjects:
        for subject in subjects:
            add_memory(fresh, subject)
            endpoint = subject.endpoint("leader")
            client = time.process_time()
            seconds = fill(endpoint, 0, plan.keys_between)
            add_memory(between, subject)
            seconds += fill(endpoint, plan.keys_between, plan.keys, seed=2)
            client = time.process_time() - client
            rate.add(
                subject.name,
                **{"puts/s": plan.keys / seconds, "client's cores": client / seconds},
            )
            add_memory(full, subject)
            for row in (fresh, between, full, rate):
                say(f"{members}: {row.title}: {subject.name}: {row.latest(subject.name)}")
        if plan.wants(members, restart.title) or plan.wants(members, restarted.title):
            for turn in plan.turns():
                for subject in in_turn(subjects, turn):
                    restart.add(subject.name, s=subject.restart())
                    add_memory(restarted, subject)
                    for row in (restart, restarted):
                        say(f"{members}: {row.title}: {subject.name}: {row.latest(subject.name)}")
        if made:
            restores.run(members, subjects, plan, made, snapshots)
        if operations:
            long_operations.run(members, subjects, plan, operations, latency)
