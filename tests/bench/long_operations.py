"""Latency of small puts while the leader does a long operation."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial

from rusd.proto import rpc_pb2 as rpc
from tests.bench.calls import RANGE_PATH
from tests.bench.fill import PREFIX, PREFIX_END, fill
from tests.bench.load import LoadFailed, LongCall, Program, Save
from tests.bench.paced_load import Waits, paced
from tests.bench.plan import Plan, say
from tests.bench.rows import Row, Table
from tests.bench.subjects import Subject, in_turn
from tests.support.client import Client

KV = "/etcdserverpb.KV/"
MAINTENANCE = "/etcdserverpb.Maintenance/"
SNAPSHOT = MAINTENANCE + "Snapshot"
#: In place of a path: what etcdctl does, not h2load.
SAVE = "snapshot save"


@dataclass
class Operation:
    """One row: an operation at the leader while others put."""

    name: str
    #: None: nothing goes on, for comparison.
    path: str | None
    message: bytes = b""
    #: Costs the same every time: done until it has taken long enough, and in every turn.
    again: bool = True
    #: The least bytes its answer has; a refusal has none.
    least: int = 1

    @property
    def title(self) -> str:
        return f"puts during: {self.name}"


def wanted(members: int, plan: Plan) -> list[Operation]:
    """In the order they are done: those that rewrite the store, and the delete, come last.

    Only in the largest cluster: what stalls a member there stalls one that is alone as well.
    """
    if members < max(plan.members):
        return []
    whole = rpc.RangeRequest(key=PREFIX, range_end=PREFIX_END)
    txn = rpc.TxnRequest(success=[rpc.RequestOp(request_range=whole)]).SerializeToString()
    delete = rpc.DeleteRangeRequest(key=PREFIX, range_end=PREFIX_END).SerializeToString()
    keys, size = f"{plan.keys:,} keys", plan.keys * 256
    operations = [
        Operation("nothing", None),
        Operation(f"a range of {keys}", RANGE_PATH, whole.SerializeToString(), least=size),
        Operation(f"a txn that reads {keys}", KV + "Txn", txn, least=size),
        Operation("hash of all versions", MAINTENANCE + "HashKV"),
        # (rusd makes each later file of the one before.)
        Operation(f"etcdctl's first snapshot save of {keys}", SAVE, again=False, least=size),
        Operation(f"etcdctl's later snapshot saves of {keys}", SAVE, least=size),
        # (etcdctl writes its file to the disk of the members: here nobody does.)
        Operation(f"later snapshots of {keys}, thrown away", SNAPSHOT, least=size // 3),
        # What is compacted is known when it has been written.
        Operation(f"compaction of {plan.keys:,} superseded versions", KV + "Compact", again=False),
        Operation("defragment", MAINTENANCE + "Defragment", again=False),
        Operation(f"a delete of {keys}", KV + "DeleteRange", delete, again=False),
    ]
    return [one for one in operations if plan.wants(members, one.title)]


def run(
    members: int, subjects: list[Subject], plan: Plan, operations: list[Operation], table: Table
) -> None:
    """A row for each operation, then what all of them left in memory."""
    for operation in operations:
        row = Row(operation.title, "p99 ms", more_is_better=False)
        table.rows.append(row)
        for turn in plan.turns() if operation.again else range(1):
            for subject in in_turn(subjects, turn):
                if subject.name in row.remarks:
                    continue
                if not table.attempt(partial(during, operation, subject, plan, row)):
                    row.remarks[subject.name] = "failed"
                shown = row.remarks.get(subject.name) or row.latest(subject.name)
                say(f"{members}: {row.title}: {subject.name}: {shown}")
    after = Row("resident memory after all of these", "MiB", more_is_better=False)
    for subject in subjects:
        memory = subject.mean_memory()
        after.add(subject.name, MiB=memory.resident, MiB_anonymous=memory.anonymous)
    table.rows.append(after)


def outdate(subject: Subject, plan: Plan) -> bytes:
    """Write every key once more; the request that compacts what was before."""
    endpoint = subject.endpoint("leader")
    fill(endpoint, 0, plan.keys, seed=3)
    with Client(endpoint) as client:
        revision = client.range(b"x").header.revision
    return rpc.CompactionRequest(revision=revision, physical=True).SerializeToString()


def during(operation: Operation, subject: Subject, plan: Plan, row: Row) -> None:
    """Add p50, p99 and max of the puts, and how long one operation took."""
    times: list[float] = []
    if operation.path is not None and operation.path.endswith("/Compact"):
        operation.message = outdate(subject, plan)
    if operation.path is None:
        stop = time.monotonic() + plan.long_seconds
        waits = paced(subject.endpoint("leader"), lambda: time.monotonic() < stop)
    else:
        work = Repeated(operation, subject, plan)
        try:
            waits = paced(subject.endpoint("leader"), work.goes_on)
        finally:
            work.close()
        if work.refused:
            row.remarks[subject.name] = "not served"
            return
        times = work.times
    if not waits.milliseconds:
        raise LoadFailed("the operation ended before the first put")
    add(row, subject, waits, times)


def add(row: Row, subject: Subject, waits: Waits, times: list[float]) -> None:
    row.add(
        subject.name,
        **{
            "p50 ms": waits.quantile(0.5),
            "p99 ms": waits.quantile(0.99),
            "max ms": waits.milliseconds[-1],
            "puts": len(waits.milliseconds),
            "operation s": sum(times) / len(times) if times else 0.0,
        },
    )


class Repeated:
    """The operation, again and again until it has run for `plan.long_seconds`."""

    def __init__(self, operation: Operation, subject: Subject, plan: Plan) -> None:
        self._operation = operation
        self._plan = plan
        self._url, self._endpoint = subject.url("leader"), subject.endpoint("leader")
        self.times: list[float] = []
        self.refused = False
        self._done = False
        self._begin()

    def _begin(self) -> None:
        assert self._operation.path is not None
        self._started = time.monotonic()
        if self._operation.path == SAVE:
            self._call: Program = Save(self._endpoint, self._plan.scratch)
        else:
            self._call = LongCall(
                self._url, self._operation.path, self._operation.message, self._plan.scratch
            )

    def goes_on(self) -> bool:
        """Starts the next one when one has ended; False when it is enough."""
        if self._done:
            return False
        if self._call.running():
            return True
        self.times.append(time.monotonic() - self._started)
        self.refused = self._call.answer_bytes() < self._operation.least
        self._done = (
            self.refused or not self._operation.again or sum(self.times) >= self._plan.long_seconds
        )
        if self._done:
            return False
        self._begin()
        return True

    def close(self) -> None:
        self._call.close()
