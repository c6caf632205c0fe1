"""The conditions of a txn: which branch it takes, for the whole tree of nested txns at once.

Every condition, also of nested txns, is judged against the state before the outermost txn. So the
branches are known before anything is written, and what they will do can be checked first.
"""

from collections.abc import Callable, Sequence
from operator import eq, gt, lt, ne
from typing import Any, NamedTuple, Protocol

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


def decide(view: View, request: rpc.TxnRequest) -> Decision:
    """Choose the branches of a txn and of the nested txns in them. No condition means success."""
    succeeded = all(_holds(view, condition) for condition in request.compare)
    operations: list[tuple[int, Any]] = []
    for operation in request.success if succeeded else request.failure:
        name = operation.WhichOneof("request")
        if name is None:
            continue
        kind, body = _KINDS[name], getattr(operation, name)
        operations.append((kind, decide(view, body) if kind == TXN else body))
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
    """True if every key of the interval satisfies the condition.

    A missing key has revision, version and lease 0, but no value at all: nothing can be said of
    that, so a condition on it fails whatever it says.
    """
    target = condition.target
    found: Sequence[Any]
    if condition.range_end:
        whole = rpc.RangeRequest(key=condition.key, range_end=condition.range_end)
        found = [kv_pb2.KeyValue.FromString(encoded) for encoded in view.range(whole).kvs]
    else:
        live = view.get(condition.key)
        if live is None:
            found = ()
        else:
            found = (kv_pb2.KeyValue.FromString(live.kv) if target == _VALUE else live,)
    if not found and target == _VALUE:
        return False
    related = _RELATIONS.get(condition.result)
    if related is None:
        return True
    name = _TARGETS.get(target)
    if name is None:
        return related(0, 0)
    # A union member that is not the target's reads as its default, as if it had not been sent.
    wanted = getattr(condition, name)
    if not found:
        return related(0, wanted)
    return all(related(getattr(one, name), wanted) for one in found)
