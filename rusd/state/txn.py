"""Txn: decide the branches, check what they will do, then do it, all at one revision.

Nothing is written before every check has passed, so a refused txn leaves no trace. A txn of reads
only needs no log entry and runs by `read` on the committed store.
"""

from collections.abc import Iterator

from rusd.mvcc.store import Writer
from rusd.proto import rpc_pb2 as rpc
from rusd.state import responses
from rusd.state.compare import Decision, View, decide
from rusd.state.leases import Leases
from rusd.state.operations import Operations, check_put_in_txn, check_range
from rusd.state.result import Applied

_RANGE, _PUT, _DELETE_RANGE, _TXN = 1, 2, 3, 4


def is_read_only(request: rpc.TxnRequest) -> bool:
    """True if both branches hold ranges only (a nested txn counts as a write)."""
    return all(
        operation.WhichOneof("request") == "request_range"
        for branch in (request.success, request.failure)
        for operation in branch
    )


def is_serializable(request: rpc.TxnRequest) -> bool:
    """True for a read-only txn of which every range is serializable (or that has none)."""
    return all(
        operation.request_range.serializable
        for branch in (request.success, request.failure)
        for operation in branch
    )


def write(writer: Writer, leases: Leases, request: rpc.TxnRequest, wanted: bool) -> Applied:
    """Apply a txn; an EtcdError leaves the writer untouched."""
    decision = decide(writer, request)
    _check(writer, leases, decision)
    operations = Operations(writer, leases, wanted)
    body = _execute(operations, decision, wanted)
    return Applied(operations.end(), body)


def read(view: View, leases: Leases, request: rpc.TxnRequest) -> Applied:
    """Answer a read-only txn from committed state."""
    decision = decide(view, request)
    _check(view, leases, decision)
    revision = view.revision
    answers = [
        responses.response_op(
            _RANGE, revision, responses.range_response(view.range(operation.request_range))
        )
        for operation in decision.operations
    ]
    return Applied(revision, responses.txn_response(decision.succeeded, answers))


def _check(view: View, leases: Leases, decision: Decision) -> None:
    """Raise what any operation of the branches taken would fail with. Where several would, etcd 3.5
    tells of puts before ranges (3.6 goes by position); the former is what tests compare with."""
    operations = list(_flattened(decision))
    for operation in operations:
        if operation.WhichOneof("request") == "request_put":
            check_put_in_txn(view, leases, operation.request_put)
    for operation in operations:
        if operation.WhichOneof("request") == "request_range":
            check_range(view, operation.request_range)


def _flattened(decision: Decision) -> Iterator[rpc.RequestOp]:
    """The operations that will run, those of nested txns in their places."""
    nested = iter(decision.nested)
    for operation in decision.operations:
        if operation.WhichOneof("request") == "request_txn":
            yield from _flattened(next(nested))
        else:
            yield operation


def _execute(operations: Operations, decision: Decision, wanted: bool) -> bytes:
    nested = iter(decision.nested)
    answers: list[bytes] = []
    for operation in decision.operations:
        kind = operation.WhichOneof("request")
        revision: int | None
        if kind == "request_range":
            number, body = _RANGE, operations.range(operation.request_range)
            revision = operations.revision
        elif kind == "request_put":
            number, body = _PUT, operations.put(operation.request_put)
            revision = operations.revision
        elif kind == "request_delete_range":
            number, body = _DELETE_RANGE, operations.delete_range(operation.request_delete_range)
            revision = operations.revision
        elif kind == "request_txn":
            number, body = _TXN, _execute(operations, next(nested), wanted)
            revision = None
        else:
            continue
        if wanted:
            answers.append(responses.response_op(number, revision, body))
    return responses.txn_response(decision.succeeded, answers) if wanted else b""
