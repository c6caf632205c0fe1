"""Many keys: written by transactions of 128 puts, or each by a call of its own."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator

from rusd.proto import rpc_pb2 as rpc
from tests.bench import pipeline
from tests.bench.calls import PUT_PATH, TXN_PATH
from tests.bench.load import LoadFailed
from tests.bench.plan import Plan, say
from tests.bench.rows import Row, Table
from tests.bench.subjects import in_turn, running

#: Puts in a transaction: etcd takes no more by default.
BATCH = 128
#: Transactions under way at once: about what fits the windows of a new connection.
TXNS_AT_ONCE = 8

PREFIX = b"store/"
PREFIX_END = b"store0"


def key(n: int) -> bytes:
    return PREFIX + b"%08d" % n


def transactions(start: int, stop: int, seed: int) -> Iterator[bytes]:
    """Encoded requests that put keys start..stop-1, with values nobody can compress."""
    values = random.Random(seed)
    for first in range(start, stop, BATCH):
        yield rpc.TxnRequest(
            success=[
                rpc.RequestOp(request_put=rpc.PutRequest(key=key(n), value=values.randbytes(256)))
                for n in range(first, min(first + BATCH, stop))
            ]
        ).SerializeToString()


def fill(endpoint: str, start: int, stop: int, seed: int = 1) -> float:
    """Put the keys; seconds taken."""
    _, seconds = pipeline.run(endpoint, TXN_PATH, transactions(start, stop, seed), TXNS_AT_ONCE)
    return seconds


def puts(seconds: float, value: bytes) -> Iterator[bytes]:
    """Encoded puts, each of a new key, until `seconds` have passed."""
    deadline = time.monotonic() + seconds
    for n in itertools.count():
        if time.monotonic() > deadline:
            return
        # PutRequest by hand (field 1 key, field 2 value): the message class would cost as much
        # as all the rest of this client.
        name = b"new/%010d" % n
        yield b"\x0a%c%b\x12\x80\x02%b" % (len(name), name, value)


def run_new_keys(members: int, plan: Plan, table: Table) -> None:
    """Puts by the Python client, to see what h2load's single key hides."""
    cases = {
        f"put 256 B, a new key each, {role}, 1 x 100 (Python client)": role
        for role in ("leader", "follower")[: min(members, 2)]
    }
    rows = {title: Row(title, "calls/s") for title in cases if plan.wants(members, title)}
    if not rows:
        return
    table.rows += rows.values()
    value = random.Random(3).randbytes(256)
    with running(members, plan) as subjects:
        for turn in plan.turns():
            for title, row in rows.items():
                for subject in in_turn(subjects, turn):
                    endpoint = subject.endpoint(cases[title])
                    pipeline.run(endpoint, PUT_PATH, puts(plan.warm_up, value), 100)
                    before, client = subject.cpu_seconds(), time.process_time()
                    done, seconds = pipeline.run(endpoint, PUT_PATH, puts(plan.seconds, value), 100)
                    used = subject.cpu_seconds() - before
                    if not done:
                        raise LoadFailed("no put was made")
                    row.add(
                        subject.name,
                        **{
                            "calls/s": done / seconds,
                            "ms": 100 * seconds / done * 1000,
                            "CPU s per 1,000": used / done * 1000,
                            "client's cores": (time.process_time() - client) / seconds,
                        },
                    )
                    say(f"{members}: {title}: {subject.name}: {row.latest(subject.name)}")
