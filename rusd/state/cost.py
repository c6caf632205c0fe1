"""Bytes that a request may add to the store, by etcd's estimate for its space quota.

The API compares the estimate with --quota-backend-bytes. While a NOSPACE alarm is active, a request
whose estimate is above 0 is refused at apply.
"""

from collections.abc import Iterable

from rusd.proto import rpc_pb2 as rpc

#: Bytes assumed for metadata of a key.
KEY_VALUE_OVERHEAD = 256
LEASE_COST = 64


def put_cost(request: rpc.PutRequest) -> int:
    """Bytes that a put may add."""
    return len(request.key) + len(request.value) + KEY_VALUE_OVERHEAD


def txn_cost(request: rpc.TxnRequest) -> int:
    """Bytes that a txn may add: those of its larger branch."""
    return max(_branch_cost(request.success), _branch_cost(request.failure))


def _branch_cost(operations: Iterable[rpc.RequestOp]) -> int:
    total = 0
    for operation in operations:
        kind = operation.WhichOneof("request")
        if kind == "request_put":
            total += put_cost(operation.request_put)
        elif kind == "request_txn":
            total += txn_cost(operation.request_txn)
    return total
