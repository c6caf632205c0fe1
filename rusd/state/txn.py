"""Txn: decide the branches, check what they will do, then do it, all at one revision.

Nothing is written before every check has passed, so a refused txn leaves no trace. A txn of reads
only needs no log entry and runs by `read` on the committed store.
"""

from collections.abc import Iterator
from typing import Any

from rusd.mvcc.store import Writer
from rusd.proto import rpc_pb2 as rpc
from rusd.state import responses
from rusd.state.compare import PUT, RANGE, TXN, Decision, View, decide
from rusd.state.leases import Leases
from rusd.state.operations import Operations, check_put_in_txn, check_range
from rusd.state.result import Applied


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
        responses.response_op(RANGE, revision, responses.range_response(view.range(operation)))
        for _, operation in decision.operations
    ]
    return Applied(revision, responses.txn_response(decision.succeeded, answers))


def _check(view: View, leases: Leases, decision: Decision) -> None:
    """Raise what any operation of the branches taken would fail with. Where several would, etcd 3.5
    tells of puts before ranges (3.6 goes by position); the former is what tests compare with."""
    ranges = []
    for kind, operation in _flattened(decision):
        if kind == PUT:
            check_put_in_txn(view, leases, operation)
        elif kind == RANGE:
            ranges.append(operation)
    for operation in ranges:
        check_range(view, operation)


def _flattened(decision: Decision) -> Iterator[tuple[int, Any]]:
    """The operations that will run, those of nested txns in their places."""
    for kind, operation in decision.operations:
        if kind == TXN:
            yield from _flattened(operation)
        else:
            yield kind, operation


def _execute(operations: Operations, decision: Decision, wanted: bool) -> bytes:
    answers: list[bytes] = []
    for kind, operation in decision.operations:
        # A nested txn's header is empty.
        revision: int | None = None
        if kind == TXN:
            body = _execute(operations, operation, wanted)
        else:
            if kind == PUT:
                body = operations.put(operation)
            elif kind == RANGE:
                body = operations.range(operation)
            else:
                body = operations.delete_range(operation)
            revision = operations.revision
        if wanted:
            answers.append(responses.response_op(kind, revision, body))
    return responses.txn_response(decision.succeeded, answers) if wanted else b""
