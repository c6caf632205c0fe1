"""Run the unary loads, the servers taking turns."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from tests.bench.calls import PUT, PUT_PATH, RANGE_PATH, STREAMS, Group, Load
from tests.bench.load import ENOUGH, LoadFailed, Measured, Shape, measure
from tests.bench.plan import Plan, say
from tests.bench.rows import Row, Table
from tests.bench.subjects import Subject, in_turn, running
from tests.support.client import Client


class Raw:
    """Stands for an answer's class where only its bytes are wanted."""

    @staticmethod
    def FromString(data: bytes) -> bytes:
        return data


def look(load: Load, endpoint: str) -> tuple[float, int]:
    """Mean size of a good answer with gRPC's prefix, and the store's revision after it.

    Raises Refused if there is no good answer.
    """
    with Client(endpoint) as client:
        sizes = [
            len(client.call(path, load.message, Raw)) + 5  # type: ignore[type-var,arg-type]
            for path in load.paths
        ]
        return sum(sizes) / len(sizes), client.range(b"x").header.revision


def check(load: Load, subject: Subject, got: Measured, size: float, revision: int) -> None:
    """Raises LoadFailed unless the calls were answered in full and the writes are in the store."""
    _, now = look(load, subject.endpoint(load.role))
    writes = sum(path != RANGE_PATH for path in load.paths) / len(load.paths)
    if got.answer_bytes < ENOUGH * size * got.calls:
        raise LoadFailed(
            f"{subject.name}, {load.name}: {got.answer_bytes} bytes for {got.calls} calls of "
            f"{size:.0f}: some were refused"
        )
    if now - revision < ENOUGH * writes * got.calls:
        raise LoadFailed(
            f"{subject.name}, {load.name}: {now - revision} revisions for {got.calls} calls"
        )


def run_group(group: Group, members: int, plan: Plan, table: Table) -> None:
    """Measure every load of `group` that is wanted; rows go to `table` as they are made."""
    loads = [load for load in group.loads if plan.wants(members, load.name)]
    if not loads:
        return
    rows = {load: Row(load.name, "calls/s") for load in loads}
    table.rows += rows.values()
    for turns in plan.turns_of_clusters():
        with running(members, plan) as subjects:
            for subject in subjects:
                with Client(subject.cluster.endpoints[0]) as client:
                    group.fill(client)
            for turn in turns:
                for load in loads:
                    measure_turn(load, in_turn(subjects, turn), plan, table, rows[load])


def measure_turn(load: Load, subjects: list[Subject], plan: Plan, table: Table, row: Row) -> None:
    """One run of one load on each server."""
    for subject in subjects:
        # What has failed once is not tried again: it may take long to fail.
        if subject.name in row.remarks:
            continue
        if table.attempt(partial(measure_one, load, subject, plan, row)):
            members = len(subject.cluster.members)
            say(f"{members}: {load.name}: {subject.name}: {row.latest(subject.name)}")
        else:
            row.remarks[subject.name] = "failed"


def measure_one(load: Load, subject: Subject, plan: Plan, row: Row) -> None:
    """One run of one load on one server."""
    size, revision = look(load, subject.endpoint(load.role))
    got, values = measured(subject, load.role, load.paths, load.message, load.shape, plan)
    check(load, subject, got, size, revision)
    row.add(subject.name, **values)


def measure_put(subject: Subject, plan: Plan, row: Row) -> None:
    """One run of puts at the leader of one server."""
    _, values = measured(subject, "leader", [PUT_PATH], PUT, STREAMS, plan)
    row.add(subject.name, **values)


def measured(
    subject: Subject,
    role: str,
    paths: Sequence[str],
    message: bytes,
    shape: Shape,
    plan: Plan,
) -> tuple[Measured, dict[str, float]]:
    """One run of one call, and what a row has of it."""
    url = subject.url(role)
    before = subject.cpu_seconds()
    got = measure(url, paths, message, shape, plan.seconds, plan.warm_up, plan.scratch)
    used = subject.cpu_seconds() - before
    return got, {
        "calls/s": got.rate,
        "ms": got.latency_ms,
        "CPU s per 1,000": per_thousand(got, used, plan),
    }


def per_thousand(got: Measured, used: float, plan: Plan) -> float:
    """CPU seconds of all members per 1,000 calls.

    The warm-up is served at about the same rate and costs CPU too.
    """
    return used / (got.rate * (plan.seconds + plan.warm_up)) * 1000
