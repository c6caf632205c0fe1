"""Conditions of a txn: which branch it takes, decided for all nested txns at once.

As in etcd, every condition, also of nested txns, is evaluated against the state before the
outermost txn. So the branches are known, and their operations checked, before the first write.
"""

from collections.abc import Callable, Generator
from operator import eq, gt, lt, ne
from typing import Any, NamedTuple

from rusd.base.sliced import SLICE_BYTES, UNIT_BYTES, Meter
from rusd.mvcc.interval import bounds
from rusd.proto import kv_pb2
from rusd.proto import rpc_pb2 as rpc
from rusd.state.ports import View
from rusd.wire.keyvalue import Live, kv_of, value_of

#: Rows evaluated between two checks of the meter.
SLICE = 250


class Decision(NamedTuple):
    """The branch that a txn takes."""

    succeeded: bool
    #: (kind, request) in order; for a nested txn (TXN, its decision).
    operations: list[tuple[int, Any]]


#: Kinds of operations: their field numbers in RequestOp and ResponseOp.
RANGE, PUT, DELETE_RANGE, TXN = 1, 2, 3, 4
_KINDS = {
    "request_range": RANGE,
    "request_put": PUT,
    "request_delete_range": DELETE_RANGE,
    "request_txn": TXN,
}


#: Conditions or operations of single keys up to which a txn is evaluated without slices.
MAX_IMMEDIATE_OPERATIONS = 256


def decide(view: View, request: rpc.TxnRequest) -> Decision | None:
    """Returns the branch of a txn of single keys; None for any other, which may need slices, and if
    the versions that it compares are large.

    A txn without conditions succeeds.
    """
    if len(request.compare) > MAX_IMMEDIATE_OPERATIONS:
        return None
    succeeded = True
    size = 0
    for condition in request.compare:
        if condition.range_end or size > SLICE_BYTES:
            return None
        live = view.get(condition.key)
        if live is not None:
            size += len(live.kv)
        if not _holds(live, condition):
            succeeded = False
            break
    branch = request.success if succeeded else request.failure
    if len(branch) > MAX_IMMEDIATE_OPERATIONS:
        return None
    operations: list[tuple[int, Any]] = []
    for operation in branch:
        name = operation.WhichOneof("request")
        if name is None:
            continue
        kind, body = _KINDS[name], getattr(operation, name)
        if kind != PUT and (kind == TXN or body.range_end):
            return None
        operations.append((kind, body))
    return Decision(succeeded, operations)


def decide_slices(
    view: View, request: rpc.TxnRequest, meter: Meter
) -> Generator[None, None, Decision]:
    """Returns the branch of any txn, and those of its nested txns, in slices."""
    succeeded = True
    for condition in request.compare:
        if condition.range_end:
            succeeded = yield from _all_hold(view, condition, meter)
        else:
            live = view.get(condition.key)
            succeeded = _holds(live, condition)
            if live is not None and meter.passed(len(live.kv) // UNIT_BYTES):
                yield
        if meter.passed():
            yield
        if not succeeded:
            break
    operations: list[tuple[int, Any]] = []
    for operation in request.success if succeeded else request.failure:
        name = operation.WhichOneof("request")
        if name is None:
            continue
        kind, body = _KINDS[name], getattr(operation, name)
        if kind == TXN:
            body = yield from decide_slices(view, body, meter)
        operations.append((kind, body))
        if meter.passed():
            yield
    return Decision(succeeded, operations)


#: Target -> its field in a Compare, a KeyValue and a `Live`.
_TARGETS: dict[int, str] = {
    rpc.Compare.VERSION: "version",
    rpc.Compare.CREATE: "create_revision",
    rpc.Compare.MOD: "mod_revision",
    rpc.Compare.VALUE: "value",
    rpc.Compare.LEASE: "lease",
}
_VALUE = rpc.Compare.VALUE
_RELATIONS: dict[int, Callable[[Any, Any], bool]] = {
    rpc.Compare.EQUAL: eq,
    rpc.Compare.NOT_EQUAL: ne,
    rpc.Compare.GREATER: gt,
    rpc.Compare.LESS: lt,
}


def _holds(live: Live | None, condition: rpc.Compare) -> bool:
    """True if a single key satisfies the condition.

    As in etcd, an absent key has revisions, version and lease 0 but no value: a condition on its
    value is false.
    """
    target = condition.target
    if live is None and target == _VALUE:
        return False
    related = _RELATIONS.get(condition.result)
    if related is None:
        return True
    name = _TARGETS.get(target)
    if name is None:
        return bool(related(0, 0))
    found: Any = 0
    if live is not None:
        found = value_of(live.kv) if target == _VALUE else getattr(live, name)
    # The union member of another target reads as its default value, as if absent.
    return bool(related(found, getattr(condition, name)))


def _all_hold(view: View, condition: rpc.Compare, meter: Meter) -> Generator[None, None, bool]:
    """True if every key of an interval satisfies the condition; in slices."""
    rows = view.rows(*bounds(condition.key, condition.range_end))
    holds = _test(condition)
    part = rows.read(SLICE)
    if not part:
        return _holds(None, condition)
    while part:
        if not all(holds(kv_pb2.KeyValue.FromString(kv_of(row))) for row in part):
            return False
        if meter.passed(len(part) + sum(map(len, part)) // UNIT_BYTES):
            yield
        part = rows.read(SLICE)
    return True


def _test(condition: rpc.Compare) -> Callable[[kv_pb2.KeyValue], bool]:
    """Return the condition as a predicate on a KeyValue, as `_holds`."""
    related = _RELATIONS.get(condition.result)
    if related is None:
        return lambda version: True
    name = _TARGETS.get(condition.target)
    if name is None:
        same = bool(related(0, 0))
        return lambda version: same
    wanted = getattr(condition, name)
    return lambda version: bool(related(getattr(version, name), wanted))
