"""Transactions within transactions, and their responses, deeper than the protobuf library reads.

The library reads 100 messages within messages, some 50 levels of transactions; etcd reads 10,000
messages, and refuses more levels than --max-txn-ops as too many operations. What the library
refuses for its depth is read here level by level, without recursion, with the library for all that
is not a transaction.

`LEVELS` levels are read whole. One more is read without what it contains, for a check that refuses
it; deeper ones are passed over.
"""

from collections.abc import Iterator
from typing import TypeVar

from google.protobuf.message import DecodeError

from rusd.proto import rpc_pb2 as rpc

T = TypeVar("T", rpc.TxnRequest, rpc.TxnResponse)

#: Levels of transactions, the outermost included: as many as the default of --max-txn-ops allows.
LEVELS = 128
#: Messages within messages that etcd's decoder allows.
ETCDS_DEPTH = 10_000
#: Fields of one request that are read here: some 20 ms.
FIELDS = 10_000

_CORRUPT = "wire format was corrupt"
#: Of each message: the fields that hold operations. In an operation: the field of a transaction.
_OPERATIONS = {rpc.TxnRequest: {2: "success", 3: "failure"}, rpc.TxnResponse: {3: "responses"}}
_NESTED = {rpc.TxnRequest: "request_txn", rpc.TxnResponse: "response_txn"}
_TXN = 4
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def txn_request(raw: bytes) -> rpc.TxnRequest:
    """Decode a TxnRequest. Raises DecodeError."""
    try:
        return rpc.TxnRequest.FromString(raw)
    except DecodeError as error:
        return _decode(rpc.TxnRequest, raw, error)


def txn_response(raw: bytes) -> rpc.TxnResponse:
    """Decode a TxnResponse. Raises DecodeError."""
    try:
        return rpc.TxnResponse.FromString(raw)
    except DecodeError as error:
        return _decode(rpc.TxnResponse, raw, error)


def levels(request: rpc.TxnRequest) -> int:
    """Return the levels of transactions in `request`: 1 if none is nested in it."""
    deepest, waiting = 1, [(request, 1)]
    while waiting:
        txn, level = waiting.pop()
        deepest = max(deepest, level)
        for branch in (txn.success, txn.failure):
            for operation in branch:
                if operation.HasField("request_txn"):
                    waiting.append((operation.request_txn, level + 1))
    return deepest


def _decode(kind: type[T], raw: bytes, refused: DecodeError) -> T:
    """Decode what the library has refused. Raises `refused` if not for its depth."""
    if "Depth" not in str(refused):
        raise refused
    operations, nested = _OPERATIONS[kind], _NESTED[kind]
    result = kind()
    fields = 0
    # Encoded transactions, how many messages they are within, and where they go, if anywhere.
    waiting: list[tuple[memoryview, int, T | None]] = [(memoryview(raw), 0, result)]
    while waiting:
        encoded, depth, txn = waiting.pop()
        # (An operation and its request are two messages more.)
        if depth >= ETCDS_DEPTH - 2 and encoded:
            raise DecodeError("proto: exceeded maximum recursion depth")
        inside = txn if depth < 2 * LEVELS else None
        rest = []
        for number, field, content in _fields(encoded):
            fields += 1
            name = operations.get(number)
            if name is None or content is None:
                rest.append(field)
                continue
            parts = list(_fields(content))
            fields += len(parts)
            inner = parts[0][2] if len(parts) == 1 and parts[0][0] == _TXN else None
            operation = None if inside is None else getattr(inside, name).add()
            if inner is not None:
                place = None if operation is None else getattr(operation, nested)
                if place is not None:
                    place.SetInParent()
                waiting.append((inner, depth + 2, place))
            elif operation is not None:
                operation.MergeFromString(bytes(content))
        if fields > FIELDS:
            raise DecodeError("proto: exceeded maximum recursion depth")
        if inside is not None:
            inside.MergeFromString(b"".join(rest))
    return result


def _fields(encoded: memoryview) -> Iterator[tuple[int, memoryview, memoryview | None]]:
    """Yield number, field and, of a field of bytes, content. Raises DecodeError."""
    position, end = 0, len(encoded)
    while position < end:
        start = position
        tag, position = _varint(encoded, position)
        kind, content = tag & 7, None
        if kind == _BYTES:
            size, position = _varint(encoded, position)
            content = encoded[position : position + size]
            position += size
        elif kind == _VARINT:
            _, position = _varint(encoded, position)
        elif kind in (_FIXED32, _FIXED64):
            position += 4 if kind == _FIXED32 else 8
        else:
            raise DecodeError(_CORRUPT)
        if position > end:
            raise DecodeError(_CORRUPT)
        yield tag >> 3, encoded[start:position], content


def _varint(encoded: memoryview, position: int) -> tuple[int, int]:
    number = shift = 0
    for byte in encoded[position : position + 10]:
        number |= (byte & 0x7F) << shift
        shift += 7
        position += 1
        if byte < 0x80:
            return number, position
    raise DecodeError(_CORRUPT)
