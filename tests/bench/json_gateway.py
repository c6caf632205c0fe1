"""Ranges of one key as JSON over HTTP/1.1, on connections that stay open."""

from __future__ import annotations

import base64
import json
from functools import partial

from tests.bench.calls import CONNECTIONS, KEY, ONE, VALUE
from tests.bench.load import ENOUGH, LoadFailed, Shape, measure_json
from tests.bench.plan import Plan, say
from tests.bench.rows import Row, Table
from tests.bench.subjects import Subject, in_turn, running
from tests.bench.unary import per_thousand
from tests.support.client import Client
from tests.support.http import ask

HEADING = "JSON gateway"
PATH = "/v3/kv/range"
SHAPES = (ONE, Shape(16, 1), CONNECTIONS)
BODY = json.dumps({"key": base64.b64encode(KEY).decode()})


def run(members: int, plan: Plan, table: Table) -> None:
    """Measure the range of one key with each number of connections."""
    titles = {shape: f"range 1 key as JSON, leader, {shape}" for shape in SHAPES}
    wanted = [shape for shape, title in titles.items() if plan.wants(members, title)]
    if not wanted:
        return
    rows = {shape: Row(titles[shape], "calls/s") for shape in wanted}
    table.rows += rows.values()
    with running(members, plan) as subjects:
        for subject in subjects:
            with Client(subject.endpoint("leader")) as client:
                client.put(KEY, VALUE)
        for turn in plan.turns():
            for shape, row in rows.items():
                for subject in in_turn(subjects, turn):
                    table.attempt(partial(_measure, subject, shape, row, plan))
                    say(f"{members}: {row.title}: {subject.name}: {row.latest(subject.name)}")


def _measure(subject: Subject, shape: Shape, row: Row, plan: Plan) -> None:
    size = len(ask(subject.endpoint("leader"), PATH, BODY).body)
    before = subject.cpu_seconds()
    url = subject.url("leader") + PATH
    got = measure_json(url, BODY, shape, plan.seconds, plan.warm_up, plan.scratch)
    used = subject.cpu_seconds() - before
    if got.answer_bytes < ENOUGH * size * got.calls:
        raise LoadFailed(f"{subject.name}: some answers were cut short")
    row.add(
        subject.name,
        **{
            "calls/s": got.rate,
            "ms": got.latency_ms,
            "CPU s per 1,000": per_thousand(got, used, plan),
        },
    )
