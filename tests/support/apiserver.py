"""The requests that kube-apiserver makes of etcd, shape by shape."""

from __future__ import annotations

from rusd.proto import rpc_pb2 as rpc
from tests.support.client import Client

MOD, VERSION = rpc.Compare.MOD, rpc.Compare.VERSION
COMPACT_KEY = b"compact_rev_key"


def prefix_end(prefix: bytes) -> bytes:
    """The end of the range of all keys that begin with `prefix`."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


def create(client: Client, key: bytes, value: bytes, lease: int = 0) -> rpc.TxnResponse:
    """An object that must not exist; nothing is asked for if it does."""
    return client.txn(
        rpc.TxnRequest(
            compare=[rpc.Compare(key=key, target=MOD, mod_revision=0)],
            success=[_put(key, value, lease)],
        )
    )


def update(client: Client, key: bytes, value: bytes, seen: int, lease: int = 0) -> rpc.TxnResponse:
    """An object that must be as of the revision that was seen; if not, it is read."""
    return client.txn(
        rpc.TxnRequest(
            compare=[rpc.Compare(key=key, target=MOD, mod_revision=seen)],
            success=[_put(key, value, lease)],
            failure=[_get(key)],
        )
    )


def delete(client: Client, key: bytes, seen: int) -> rpc.TxnResponse:
    """The same for the end of an object."""
    gone = rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=key))
    return client.txn(
        rpc.TxnRequest(
            compare=[rpc.Compare(key=key, target=MOD, mod_revision=seen)],
            success=[gone],
            failure=[_get(key)],
        )
    )


def claim_compaction(
    client: Client, version: int, revision: int, key: bytes = COMPACT_KEY
) -> rpc.TxnResponse:
    """The right to compact in this round, which one API server of several wins."""
    return client.txn(
        rpc.TxnRequest(
            compare=[rpc.Compare(key=key, target=VERSION, version=version)],
            success=[_put(key, str(revision).encode(), 0)],
            failure=[_get(key)],
        )
    )


def _put(key: bytes, value: bytes, lease: int) -> rpc.RequestOp:
    return rpc.RequestOp(request_put=rpc.PutRequest(key=key, value=value, lease=lease))


def _get(key: bytes) -> rpc.RequestOp:
    return rpc.RequestOp(request_range=rpc.RangeRequest(key=key))
