"""The four transactions that the Kubernetes API server writes with.

Each is made as the API server makes it: a create of a new key, an update and a delete of a key at
the revision that the last answer named, and an update at an older revision, whose answer holds the
object. A run creates keys, then updates them, and deletes them at the end, so the rows of one
repetition share its keys.
"""

from __future__ import annotations

import itertools
import random
import time
from collections import deque
from collections.abc import Callable, Iterator

from rusd.proto import rpc_pb2 as rpc
from tests.bench import pipeline
from tests.bench.calls import ONE, STREAMS, TXN_PATH
from tests.bench.load import LoadFailed, Shape
from tests.bench.plan import Plan, say
from tests.bench.rows import Row, Table
from tests.bench.subjects import Subject, in_turn, running

HEADING = "Transactions of the Kubernetes API server (Python client)"

CREATE = "create: If mod = 0 Then put 1 kB"
UPDATE = "update: If mod = N Then put 1 kB Else get"
REFUSED = "refused update: the same with an older N"
DELETE = "delete: If mod = N Then delete Else get"
STEPS = (CREATE, UPDATE, REFUSED, DELETE)
SHAPES = (ONE, STREAMS)

VALUE = random.Random(4).randbytes(1000)

#: A key and its revision.
Object = tuple[bytes, int]


class Objects:
    """Keys of one repetition and their revisions; makes calls and reads their answers."""

    def __init__(self, prefix: bytes) -> None:
        self._prefix = prefix
        self._names = itertools.count()
        #: Objects that no call is under way for, those that waited longest first.
        self._idle: deque[Object] = deque()
        #: Objects of calls under way, by the number of the call.
        self._asked: dict[int, Object] = {}

    def run(
        self, step: str, subject: Subject, endpoint: str, at_once: int, seconds: float
    ) -> tuple[int, float]:
        """Make calls for `seconds`: number of calls, and seconds until the last answer.

        Raises LoadFailed for an answer other than expected.
        """
        make, expected = _MADE[step], step != REFUSED

        def requests() -> Iterator[bytes]:
            deadline = time.monotonic() + seconds
            for number in itertools.count():
                if time.monotonic() > deadline or not (step == CREATE or self._idle):
                    return
                found = self._new() if step == CREATE else self._idle.popleft()
                self._asked[number] = found
                yield make(*found).SerializeToString()

        def answered(number: int, message: bytes) -> None:
            answer = rpc.TxnResponse.FromString(message)
            if answer.succeeded != expected:
                raise LoadFailed(f"{subject.name}, {step}: answered succeeded={answer.succeeded}")
            key, revision = self._asked.pop(number)
            if step == REFUSED:
                if answer.responses[0].response_range.kvs[0].mod_revision != revision:
                    raise LoadFailed(f"{subject.name}, {step}: another object was answered")
                self._idle.append((key, revision))
            elif step != DELETE:
                self._idle.append((key, answer.header.revision))

        return pipeline.run(endpoint, TXN_PATH, requests(), at_once, answered)

    def _new(self) -> Object:
        return self._prefix + b"%010d" % next(self._names), 0


def _if_at(key: bytes, revision: int, then: rpc.RequestOp, get: bool = True) -> rpc.TxnRequest:
    compare = rpc.Compare(
        key=key, target=rpc.Compare.MOD, result=rpc.Compare.EQUAL, mod_revision=revision
    )
    read = [rpc.RequestOp(request_range=rpc.RangeRequest(key=key))] if get else []
    return rpc.TxnRequest(compare=[compare], success=[then], failure=read)


def _put(key: bytes) -> rpc.RequestOp:
    return rpc.RequestOp(request_put=rpc.PutRequest(key=key, value=VALUE))


def write_at(key: bytes, revision: int) -> bytes:
    """The txn of a create (`revision` 0), or of an update at `revision`, encoded."""
    return _MADE[UPDATE if revision else CREATE](key, revision).SerializeToString()


def _delete(key: bytes, revision: int) -> rpc.TxnRequest:
    removal = rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=key))
    return _if_at(key, revision, removal)


_MADE: dict[str, Callable[[bytes, int], rpc.TxnRequest]] = {
    CREATE: lambda key, _: _if_at(key, 0, _put(key), get=False),
    UPDATE: lambda key, revision: _if_at(key, revision, _put(key)),
    REFUSED: lambda key, revision: _if_at(key, revision - 1, _put(key)),
    DELETE: _delete,
}


def run(members: int, plan: Plan, table: Table) -> None:
    """Measure each transaction with each shape, at the leader and at a follower."""
    roles = ("leader", "follower")[: min(members, 2)]
    cases = list(itertools.product(roles, SHAPES, STEPS))
    titles = {case: f"{case[2]}, {case[0]}, {case[1]}" for case in cases}
    rows = {
        case: Row(title, "calls/s")
        for case, title in titles.items()
        if plan.wants(members, f"{HEADING}: {title}")
    }
    if not rows:
        return
    table.rows += [rows[case] for case in sorted(rows, key=lambda case: STEPS.index(case[2]))]
    with running(members, plan) as subjects:
        for turn in plan.turns():
            for role, shape in itertools.product(roles, SHAPES):
                wanted = {
                    step: rows[role, shape, step] for step in STEPS if (role, shape, step) in rows
                }
                for subject in in_turn(subjects, turn):
                    prefix = f"/registry/configmaps/{turn}/{role}/{shape.streams}/".encode()
                    _measure(subject, role, shape, prefix, wanted, plan)
                    for row in wanted.values():
                        say(f"{members}: {row.title}: {subject.name}: {row.latest(subject.name)}")


def _measure(
    subject: Subject, role: str, shape: Shape, prefix: bytes, rows: dict[str, Row], plan: Plan
) -> None:
    """One repetition on one server."""
    endpoint = subject.endpoint(role)
    objects = Objects(prefix)
    objects.run(CREATE, subject, endpoint, shape.streams, plan.warm_up)
    for step in STEPS:
        # Later steps need the objects in any case.
        if step not in rows and step != CREATE:
            continue
        before, client = subject.cpu_seconds(), time.process_time()
        done, seconds = objects.run(step, subject, endpoint, shape.streams, plan.seconds)
        used = subject.cpu_seconds() - before
        if not done:
            raise LoadFailed(f"{subject.name}, {step}: no call was made")
        if step in rows:
            rows[step].add(
                subject.name,
                **{
                    "calls/s": done / seconds,
                    "ms": shape.streams * seconds / done * 1000,
                    "CPU s per 1,000": used / done * 1000,
                    "client's cores": (time.process_time() - client) / seconds,
                },
            )
