"""The conditions of a txn: which branch it takes, for the whole tree of nested txns at once.

Every condition, also of nested txns, is judged against the state before the outermost txn. So the
branches are known before anything is written, and what they will do can be checked first.
"""

from collections.abc import Callable, Generator
from operator import eq, gt, lt, ne
from typing import Any, NamedTuple

from rusd.base.sliced import Meter
from rusd.mvcc.interval import bounds
from rusd.proto import kv_pb2
from rusd.proto import rpc_pb2 as rpc
from rusd.state.ports import View
from rusd.wire.keyvalue import kv_of

#: Rows judged between two looks at the meter.
SLICE = 250


class Decision(NamedTuple):
    """The branch a txn takes."""

    succeeded: bool
    #: (kind, request) in order; of a nested txn, (TXN, its decision).
    operations: list[tuple[int, Any]]


#: Kinds of operations: their field numbers in RequestOp and ResponseOp.
RANGE, PUT, DELETE_RANGE, TXN = 1, 2, 3, 4
_KINDS = {
    "request_range": RANGE,
    "request_put": PUT,
    "request_delete_range": DELETE_RANGE,
    "request_txn": TXN,
}


#: Conditions or operations of a txn up to which it is no long work, if each is of a single key.
MAX_IMMEDIATE_OPERATIONS = 256


def decide(view: View, request: rpc.TxnRequest) -> Decision | None:
    """Choose the branch of a txn of single keys; None for any other, which may be long work. No
    condition means success."""
    if len(request.compare) > MAX_IMMEDIATE_OPERATIONS:
        return None
    succeeded = True
    for condition in request.compare:
        if condition.range_end:
            return None
        if not _holds(view, condition):
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
    """`decide` for any txn, and the nested txns in it, in slices."""
    succeeded = True
    for condition in request.compare:
        if condition.range_end:
            succeeded = yield from _all_hold(view, condition, meter)
        else:
            succeeded = _holds(view, condition)
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


#: Target -> what it is called in a Compare and in a KeyValue or `Live`.
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


def _holds(view: View, condition: rpc.Compare) -> bool:
    """Whether a single key satisfies the condition.

    A missing key has revision, version and lease 0, but no value at all: nothing can be said of
    that, so a condition on it fails whatever it says.
    """
    live = view.get(condition.key)
    if live is None:
        return _holds_for_none(condition)
    of_value = condition.target == _VALUE
    return _test(condition)(kv_pb2.KeyValue.FromString(live.kv) if of_value else live)


def _all_hold(view: View, condition: rpc.Compare, meter: Meter) -> Generator[None, None, bool]:
    """Whether every key of an interval satisfies the condition, in slices."""
    rows = view.rows(*bounds(condition.key, condition.range_end))
    holds = _test(condition)
    part = rows.read(SLICE)
    if not part:
        return _holds_for_none(condition)
    while part:
        if not all(holds(kv_pb2.KeyValue.FromString(kv_of(row))) for row in part):
            return False
        if meter.passed(len(part)):
            yield
        part = rows.read(SLICE)
    return True


def _holds_for_none(condition: rpc.Compare) -> bool:
    if condition.target == _VALUE:
        return False
    related = _RELATIONS.get(condition.result)
    if related is None:
        return True
    name = _TARGETS.get(condition.target)
    return bool(related(0, 0 if name is None else getattr(condition, name)))


def _test(condition: rpc.Compare) -> Callable[[Any], bool]:
    """What the condition says of a version."""
    related = _RELATIONS.get(condition.result)
    if related is None:
        return lambda version: True
    name = _TARGETS.get(condition.target)
    if name is None:
        same = bool(related(0, 0))
        return lambda version: same
    # A union member that is not the target's reads as its default, as if it had not been sent.
    wanted = getattr(condition, name)
    return lambda version: bool(related(getattr(version, name), wanted))
