"""Validates KV requests, in etcd's order of checks, before authentication and before Raft.

Each function raises the EtcdError of a malformed request, or returns.
"""

from bisect import bisect_right
from collections.abc import Iterable

from rusd.proto import rpc_pb2 as rpc
from rusd.proto.nested_txn import LEVELS
from rusd.rpc.errors import (
    DUPLICATE_KEY,
    EMPTY_KEY,
    INVALID_SORT_OPTION,
    KEY_NOT_FOUND,
    LEASE_PROVIDED,
    RANGE_STREAM_FILTER,
    RANGE_STREAM_SORT,
    TOO_MANY_OPS,
    VALUE_PROVIDED,
)

_SORT_ORDERS = frozenset(rpc.RangeRequest.SortOrder.values())
_SORT_TARGETS = frozenset(rpc.RangeRequest.SortTarget.values())


def check_range(request: rpc.RangeRequest) -> None:
    """Raises EMPTY_KEY or INVALID_SORT_OPTION."""
    if not request.key:
        raise EMPTY_KEY()
    if request.sort_order not in _SORT_ORDERS or request.sort_target not in _SORT_TARGETS:
        raise INVALID_SORT_OPTION()


def check_range_stream(request: rpc.RangeRequest) -> None:
    """Raises as `check_range`; then RANGE_STREAM_SORT or RANGE_STREAM_FILTER."""
    check_range(request)
    in_key_order = request.sort_order == rpc.RangeRequest.NONE or (
        request.sort_order == rpc.RangeRequest.ASCEND
        and request.sort_target == rpc.RangeRequest.KEY
    )
    if not in_key_order:
        raise RANGE_STREAM_SORT()
    if (
        request.min_mod_revision
        or request.max_mod_revision
        or request.min_create_revision
        or request.max_create_revision
    ):
        raise RANGE_STREAM_FILTER()


def check_put(request: rpc.PutRequest) -> None:
    """Raises EMPTY_KEY, VALUE_PROVIDED or LEASE_PROVIDED."""
    if not request.key:
        raise EMPTY_KEY()
    if request.ignore_value and request.value:
        raise VALUE_PROVIDED()
    if request.ignore_lease and request.lease:
        raise LEASE_PROVIDED()


def check_delete_range(request: rpc.DeleteRangeRequest) -> None:
    """Raises EMPTY_KEY."""
    if not request.key:
        raise EMPTY_KEY()


def check_txn(request: rpc.TxnRequest, max_ops: int) -> None:
    """Raises TOO_MANY_OPS, then each operation's error as a single request, then DUPLICATE_KEY."""
    nested = _check_operations(request, max_ops)
    # Only now, since the number of operations bounds this work.
    for branch in (request.success, request.failure):
        # (A single operation overlaps nothing, unless it is a txn.)
        if nested or len(branch) > 1:
            _check_overlaps(branch)


def _check_operations(request: rpc.TxnRequest, max_ops: int, level: int = 1) -> bool:
    """Check a txn and those nested in it; returns True if there are any. `max_ops`:
    --max-txn-ops, less the operations of the enclosing txns.
    """
    conditions, branches = request.compare, (request.success, request.failure)
    count = max(len(conditions), *map(len, branches))
    # (Whatever --max-txn-ops: deeper ones are not read.)
    if count > max_ops or level > LEVELS:
        raise TOO_MANY_OPS()
    for condition in conditions:
        if not condition.key:
            raise EMPTY_KEY()
    nested = False
    for branch in branches:
        for operation in branch:
            kind = operation.WhichOneof("request")
            if kind == "request_txn":
                nested = True
                _check_operations(operation.request_txn, max_ops - count, level + 1)
            else:
                _check_operation(operation, kind)
    return nested


def _check_operation(operation: rpc.RequestOp, kind: str | None) -> None:
    if kind == "request_range":
        check_range(operation.request_range)
    elif kind == "request_put":
        check_put(operation.request_put)
    elif kind == "request_delete_range":
        check_delete_range(operation.request_delete_range)
    else:
        raise KEY_NOT_FOUND()


class _Deleted:
    """The keys that the delete ranges of a branch cover."""

    def __init__(self) -> None:
        self._intervals: list[tuple[bytes, bytes]] = []
        self._merged: tuple[list[bytes], list[bytes]] | None = None

    def add(self, request: rpc.DeleteRangeRequest) -> None:
        # A range end of one zero byte is not read as "to the last key" here but as an end before
        # every key, so that such a delete overlaps nothing. That is etcd's way, kept on purpose.
        end = request.range_end or request.key + b"\0"
        if request.key < end:
            self._intervals.append((request.key, end))
            self._merged = None

    def update(self, other: "_Deleted") -> None:
        self._intervals += other._intervals
        self._merged = None

    def __contains__(self, key: bytes) -> bool:
        if not self._intervals:
            return False
        starts, ends = self._merged = self._merged or self._merge()
        place = bisect_right(starts, key) - 1
        return place >= 0 and key < ends[place]

    def _merge(self) -> tuple[list[bytes], list[bytes]]:
        starts: list[bytes] = []
        ends: list[bytes] = []
        for start, end in sorted(self._intervals):
            if ends and start <= ends[-1]:
                ends[-1] = max(ends[-1], end)
            else:
                starts.append(start)
                ends.append(end)
        return starts, ends


def _check_overlaps(operations: Iterable[rpc.RequestOp]) -> tuple[set[bytes], _Deleted]:
    """Return the keys put and the keys deleted by a branch, nested txns included. Raises
    DUPLICATE_KEY if it would put a key twice, or put a key that it deletes.

    The two branches of a nested txn may put the same key, since only one of them will run.
    """
    operations = list(operations)
    deleted = _Deleted()
    for operation in operations:
        if operation.WhichOneof("request") == "request_delete_range":
            deleted.add(operation.request_delete_range)
    puts: set[bytes] = set()
    for operation in operations:
        if operation.WhichOneof("request") == "request_txn":
            nested = operation.request_txn
            puts_then, deleted_then = _check_overlaps(nested.success)
            puts_else, deleted_else = _check_overlaps(nested.failure)
            _claim(puts_then | puts_else, puts, deleted)
            deleted.update(deleted_then)
            deleted.update(deleted_else)
    for operation in operations:
        if operation.WhichOneof("request") == "request_put":
            _claim({operation.request_put.key}, puts, deleted)
    return puts, deleted


def _claim(keys: set[bytes], puts: set[bytes], deleted: _Deleted) -> None:
    if not puts.isdisjoint(keys) or any(key in deleted for key in keys):
        raise DUPLICATE_KEY()
    puts |= keys
