"""Txn: choose the branches, check their operations, then execute them at one revision.

All checks precede the first write, so a refused txn changes nothing. A read-only txn needs no log
entry and is evaluated by `read` on the committed store.
"""

from collections.abc import Generator, Iterator, Sequence
from typing import Any

from rusd.base.chunks import Encoded, size_of
from rusd.base.sliced import SLICE_BYTES, UNIT_BYTES, Meter
from rusd.mvcc.interval import bounds
from rusd.mvcc.store import Writer
from rusd.proto import rpc_pb2 as rpc
from rusd.state.compare import PUT, RANGE, TXN, Decision, decide, decide_slices
from rusd.state.leases import Leases
from rusd.state.ports import View
from rusd.state.result import Applied
from rusd.state.write_txn import WriteTxn, check_put_in_txn, check_range, put_alone
from rusd.wire import kv_response

#: What a txn that only reads consists of.
READS = {"request_range"}


def kinds(request: rpc.TxnRequest) -> set[str | None]:
    """Return the kinds of operations in both branches; those within nested txns are left out."""
    return {
        operation.WhichOneof("request")
        for branch in (request.success, request.failure)
        for operation in branch
    }


def is_read_only(request: rpc.TxnRequest) -> bool:
    """True if both branches contain only ranges (a nested txn counts as a write)."""
    return kinds(request) <= READS


def is_serializable(request: rpc.TxnRequest) -> bool:
    """True if every range of a read-only txn is serializable."""
    return all(
        operation.request_range.serializable
        for branch in (request.success, request.failure)
        for operation in branch
    )


def write(
    writer: Writer, leases: Leases, request: rpc.TxnRequest, wanted: bool
) -> Applied | Generator[None, None, Applied]:
    """Apply a txn, in slices if it may be long. A refusal leaves the writer unchanged."""
    most = writer.read_bytes + SLICE_BYTES
    decision = decide(writer, request)
    if decision is None:
        return _write_slices(writer, leases, request, wanted)
    if len(decision.operations) == 1 and decision.operations[0][0] == PUT:
        return _put(writer, leases, decision, wanted)
    for kind, operation in decision.operations:
        if kind == PUT:
            check_put_in_txn(writer, leases, operation)
            if writer.read_bytes > most:
                return _write_slices(writer, leases, request, wanted)
    _check_ranges(writer, decision)
    write_txn = WriteTxn(writer, leases, wanted)
    answers: list[Encoded] = []
    size = 0
    for done, (kind, operation) in enumerate(decision.operations, 1):
        if kind == PUT:
            body = write_txn.put(operation)
        elif kind == RANGE:
            body = write_txn.range(operation)
        else:
            body = write_txn.delete_one(operation)
        if wanted:
            answers.append(kv_response.response_op(kind, write_txn.revision, body))
            size += len(body)
        if size + writer.read_bytes > most:
            rest = Decision(decision.succeeded, decision.operations[done:])
            return _write_rest(writer, write_txn, rest, wanted, answers)
    answer = kv_response.txn_response(decision.succeeded, answers) if wanted else b""
    return Applied(write_txn.end(), answer)


def _put(writer: Writer, leases: Leases, decision: Decision, wanted: bool) -> Applied:
    """Execute a branch of one put: a create or an update by the Kubernetes API server."""
    ((_, operation),) = decision.operations
    body: Encoded = put_alone(writer, leases, operation, wanted, check_put_in_txn)
    revision = writer.revision
    if wanted:
        answer = kv_response.response_op(PUT, revision, body)
        body = kv_response.txn_response(decision.succeeded, [answer])
    return Applied(revision, body)


def _write_rest(
    writer: Writer, write_txn: WriteTxn, rest: Decision, wanted: bool, answers: list[Encoded]
) -> Generator[None, None, Applied]:
    """Execute the operations that follow those with `answers`."""
    yield
    body = yield from _execute(writer, write_txn, rest, wanted, Meter(), answers)
    return Applied(write_txn.end(), body)


def _write_slices(
    writer: Writer, leases: Leases, request: rpc.TxnRequest, wanted: bool
) -> Generator[None, None, Applied]:
    meter = Meter()
    decision = yield from decide_slices(writer, request, meter)
    yield from _check_slices(writer, leases, decision, meter)
    write_txn = WriteTxn(writer, leases, wanted)
    body = yield from _execute(writer, write_txn, decision, wanted, meter)
    return Applied(write_txn.end(), body)


def read(view: View, leases: Leases, request: rpc.TxnRequest) -> Applied | None:
    """Evaluate a read-only txn of single keys on committed state; returns None for any other, and
    for one of large values.
    """
    decision = decide(view, request)
    if decision is None:
        return None
    _check_ranges(view, decision)
    answers = []
    size = 0
    for _, operation in decision.operations:
        body = kv_response.range_response(view.range(operation))
        size += len(body)
        if size > SLICE_BYTES:
            return None
        answers.append(kv_response.response_op(RANGE, view.revision, body))
    view.counts.read_txn(len(decision.operations))
    return Applied(view.revision, kv_response.txn_response(decision.succeeded, answers))


def intervals(request: rpc.TxnRequest) -> set[tuple[bytes, bytes | None]]:
    """Returns every interval [start, end) that a read-only txn may read at the present revision."""
    conditions = (bounds(one.key, one.range_end) for one in request.compare if one.range_end)
    ranges = (
        bounds(one.request_range.key, one.request_range.range_end)
        for branch in (request.success, request.failure)
        for one in branch
        if one.request_range.revision <= 0
    )
    return {*conditions, *ranges}


def read_slices(
    view: View, leases: Leases, request: rpc.TxnRequest
) -> Generator[None, None, Applied]:
    """Evaluate a read-only txn in slices. The view must not change meanwhile."""
    meter = Meter()
    decision = yield from decide_slices(view, request, meter)
    yield from _check_slices(view, leases, decision, meter)
    view.counts.read_txn(len(decision.operations))
    answers: list[Encoded] = []
    for _, operation in decision.operations:
        result = yield from view.range_slices(operation)
        body = yield from kv_response.range_slices(result, meter)
        answers.append(kv_response.response_op(RANGE, view.revision, body))
    return Applied(view.revision, kv_response.txn_response(decision.succeeded, answers))


def _check_ranges(view: View, decision: Decision) -> None:
    """Raises as `check_range`."""
    for kind, operation in decision.operations:
        if kind == RANGE:
            check_range(view, operation)


def _check_slices(
    view: View, leases: Leases, decision: Decision, meter: Meter
) -> Generator[None, None, None]:
    """Raise the refusal of any operation of the branches taken.

    If several would be refused, puts precede ranges as in etcd 3.5 (etcd 3.6 goes by position).
    """
    ranges = []
    for kind, operation in _flattened(decision):
        units = 1
        if kind == PUT:
            check_put_in_txn(view, leases, operation)
            if operation.ignore_value or operation.ignore_lease:
                live = view.get(operation.key)
                units += 0 if live is None else len(live.kv) // UNIT_BYTES
        elif kind == RANGE:
            ranges.append(operation)
        if meter.passed(units):
            yield
    for operation in ranges:
        check_range(view, operation)


def _flattened(decision: Decision) -> Iterator[tuple[int, Any]]:
    """The operations in order of execution, those of nested txns included."""
    for kind, operation in decision.operations:
        if kind == TXN:
            yield from _flattened(operation)
        else:
            yield kind, operation


def _execute(
    writer: Writer,
    write_txn: WriteTxn,
    decision: Decision,
    wanted: bool,
    meter: Meter,
    answered: Sequence[Encoded] = (),
) -> Generator[None, None, Encoded]:
    """`answered`: the answers to operations before those of `decision`."""
    answers = [*answered]
    for kind, operation in decision.operations:
        before = writer.read_bytes
        # The header of a nested txn is empty.
        revision: int | None = None
        body: Encoded
        if kind == TXN:
            body = yield from _execute(writer, write_txn, operation, wanted, meter)
        else:
            if kind == PUT:
                body = write_txn.put(operation)
            elif kind == RANGE:
                body = yield from write_txn.range_slices(operation, meter)
            else:
                body = yield from write_txn.delete_range(operation)
            revision = write_txn.revision
        if wanted:
            answers.append(kv_response.response_op(kind, revision, body))
        size = size_of(body) + writer.read_bytes - before
        if meter.passed(4 + size // UNIT_BYTES):
            writer.spill()
            yield
    return kv_response.txn_response(decision.succeeded, answers) if wanted else b""
