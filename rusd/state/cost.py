"""What a request may add to the store, in bytes, as etcd estimates it for its space quota.

The estimate decides two things: whether a request fits into --quota-backend-bytes (asked by the
API), and whether it grows the store at all (asked at apply while a NOSPACE alarm is active).
"""

from collections.abc import Iterable

from rusd.proto import rpc_pb2 as rpc

#: Assumed for what is stored beside key and value.
KEY_VALUE_OVERHEAD = 256
LEASE_COST = 64


def put_cost(request: rpc.PutRequest) -> int:
    """Bytes a put may add."""
    return len(request.key) + len(request.value) + KEY_VALUE_OVERHEAD


def txn_cost(request: rpc.TxnRequest) -> int:
    """Bytes a txn may add: its dearer branch, since the branch is not known yet."""
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
