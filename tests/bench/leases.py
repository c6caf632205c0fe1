"""Lease keep-alives per second: one stream, several leases, many requests under way."""

from __future__ import annotations

import itertools
import time

from rusd.proto import rpc_pb2 as rpc
from tests.bench.load import LoadFailed
from tests.bench.pipeline import PATIENCE
from tests.bench.plan import Plan, say
from tests.bench.rows import Row, Table
from tests.bench.subjects import Subject, in_turn, running
from tests.bench.watches import Splitter
from tests.bench.wire import DATA, END_STREAM, RST_STREAM, Connection, Poll
from tests.support.client import Client

KEEP_ALIVE_PATH = "/etcdserverpb.Lease/LeaseKeepAlive"
LEASES = 10
TTL = 3600


def keep_alives(
    endpoint: str, leases: list[int], seconds: float, at_once: int
) -> tuple[float, float]:
    """Answers per second over one stream, and the cores this client used."""
    requests = itertools.cycle(
        [rpc.LeaseKeepAliveRequest(ID=one).SerializeToString() for one in leases]
    )
    connection = Connection(endpoint)
    poll = Poll([connection])
    try:
        stream = connection.open(KEEP_ALIVE_PATH)
        splitter = Splitter()
        answers = 0
        cpu, started = time.process_time(), time.monotonic()
        for _ in range(at_once):
            connection.message(stream, next(requests))
        poll.flush()
        message = b""
        while (taken := time.monotonic() - started) < seconds:
            came = 0
            for _, frames in poll.frames(PATIENCE):
                for kind, flags, _, payload in frames:
                    if kind == RST_STREAM or flags & END_STREAM:
                        raise LoadFailed("the keep-alive stream was ended")
                    if kind == DATA and (messages := splitter.take(payload)):
                        came += len(messages)
                        message = messages[-1]
            answers += came
            for _ in range(came):
                connection.message(stream, next(requests))
            poll.flush()
        used = time.process_time() - cpu
    finally:
        poll.close()
    if rpc.LeaseKeepAliveResponse.FromString(message).TTL != TTL:
        raise LoadFailed("a lease was not renewed")
    return answers / taken, used / taken


def grant(subject: Subject) -> list[int]:
    with Client(subject.endpoint("leader")) as client:
        return [client.grant(TTL).ID for _ in range(LEASES)]


def run_keep_alives(members: int, plan: Plan, table: Table) -> None:
    cases = {
        f"lease keep-alive, {role}, 1 stream, {LEASES} leases, {at_once} at once": (role, at_once)
        for role in ("leader", "follower")[: min(members, 2)]
        for at_once in (1, 100)
    }
    rows = {title: Row(title, "calls/s") for title in cases if plan.wants(members, title)}
    if not rows:
        return
    table.rows += rows.values()
    with running(members, plan) as subjects:
        leases = {subject.name: grant(subject) for subject in subjects}
        for turn in plan.turns():
            for title, row in rows.items():
                role, at_once = cases[title]
                for subject in in_turn(subjects, turn):
                    endpoint, mine = subject.endpoint(role), leases[subject.name]
                    keep_alives(endpoint, mine, plan.warm_up, at_once)
                    before = subject.cpu_seconds()
                    rate, cores = keep_alives(endpoint, mine, plan.seconds, at_once)
                    used = subject.cpu_seconds() - before
                    row.add(
                        subject.name,
                        **{
                            "calls/s": rate,
                            "ms": at_once / rate * 1000,
                            "CPU s per 1,000": used / (rate * plan.seconds) * 1000,
                            "client's cores": cores,
                        },
                    )
                    say(f"{members}: {title}: {subject.name}: {row.latest(subject.name)}")
