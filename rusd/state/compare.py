"""The conditions of a txn: which branch it takes, for the whole tree of nested txns at once.

Every condition, also of nested txns, is judged against the state before the outermost txn. So the
branches are known before anything is written, and what they will do can be checked first.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from rusd.mvcc.keyvalue import Live
from rusd.mvcc.query import RangeResult
from rusd.proto import kv_pb2
from rusd.proto import rpc_pb2 as rpc


class View(Protocol):
    """What can be read: the committed store, or a writer's state between two requests."""

    @property
    def revision(self) -> int: ...
    @property
    def compact_revision(self) -> int: ...
    def get(self, key: bytes) -> Live | None: ...
    def range(self, request: rpc.RangeRequest) -> RangeResult: ...


class Decision(NamedTuple):
    """The branch a txn takes."""

    succeeded: bool
    operations: Sequence[rpc.RequestOp]
    #: Decisions of the nested txns in `operations`, in order.
    nested: list["Decision"]


def decide(view: View, request: rpc.TxnRequest) -> Decision:
    """Choose the branches of a txn and of the nested txns in them. No condition means success."""
    succeeded = all(_holds(view, condition) for condition in request.compare)
    operations = request.success if succeeded else request.failure
    nested = [decide(view, one) for one in nested_txns(operations)]
    return Decision(succeeded, operations, nested)


def nested_txns(operations: Iterable[rpc.RequestOp]) -> list[rpc.TxnRequest]:
    """The txns directly inside a branch."""
    return [op.request_txn for op in operations if op.WhichOneof("request") == "request_txn"]


def _holds(view: View, condition: rpc.Compare) -> bool:
    """True if every key of the interval satisfies the condition.

    A missing key has revision, version and lease 0, but no value at all: nothing can be said of
    that, so a condition on it fails whatever it says.
    """
    target = condition.target
    if not condition.range_end:
        live = view.get(condition.key)
        if live is None:
            return target != rpc.Compare.VALUE and _related(condition, 0, _wanted(condition))
        return _related(condition, _actual(target, live), _wanted(condition))
    whole = rpc.RangeRequest(key=condition.key, range_end=condition.range_end)
    found = [kv_pb2.KeyValue.FromString(encoded) for encoded in view.range(whole).kvs]
    if not found:
        return target != rpc.Compare.VALUE and _related(condition, 0, _wanted(condition))
    wanted = _wanted(condition)
    return all(_related(condition, _actual_of(target, kv), wanted) for kv in found)


def _actual(target: int, live: Live) -> int | bytes:
    if target == rpc.Compare.VALUE:
        return kv_pb2.KeyValue.FromString(live.kv).value
    if target == rpc.Compare.MOD:
        return live.mod_revision
    if target == rpc.Compare.VERSION:
        return live.version
    if target == rpc.Compare.CREATE:
        return live.create_revision
    return live.lease if target == rpc.Compare.LEASE else 0


def _actual_of(target: int, kv: kv_pb2.KeyValue) -> int | bytes:
    if target == rpc.Compare.VALUE:
        return kv.value
    if target == rpc.Compare.MOD:
        return kv.mod_revision
    if target == rpc.Compare.VERSION:
        return kv.version
    if target == rpc.Compare.CREATE:
        return kv.create_revision
    return kv.lease if target == rpc.Compare.LEASE else 0


def _wanted(condition: rpc.Compare) -> int | bytes:
    # A union member that is not the target's reads as its default, as if it had not been sent.
    target = condition.target
    if target == rpc.Compare.VALUE:
        return condition.value
    if target == rpc.Compare.MOD:
        return condition.mod_revision
    if target == rpc.Compare.VERSION:
        return condition.version
    if target == rpc.Compare.CREATE:
        return condition.create_revision
    return condition.lease if target == rpc.Compare.LEASE else 0


def _related(condition: rpc.Compare, actual: int | bytes, wanted: int | bytes) -> bool:
    result = condition.result
    if result == rpc.Compare.EQUAL:
        return actual == wanted
    if result == rpc.Compare.NOT_EQUAL:
        return actual != wanted
    if result == rpc.Compare.GREATER:
        return actual > wanted  # type: ignore[operator]
    if result == rpc.Compare.LESS:
        return actual < wanted  # type: ignore[operator]
    return True
