"""Hand-joined answers are byte for byte what the protobuf library writes."""

from hypothesis import given
from hypothesis import strategies as st

from rusd.mvcc.range_query import RangeResult
from rusd.proto import kv_pb2
from rusd.proto import rpc_pb2 as rpc
from rusd.wire import kv_response

int64 = st.integers(-(2**63), 2**63 - 1)
key_values = st.builds(
    kv_pb2.KeyValue, key=st.binary(max_size=200), value=st.binary(max_size=20), mod_revision=int64
)


@given(int64)
def test_a_lease_grant_response_is_encoded_as_by_protobuf(number: int) -> None:
    expected = rpc.LeaseGrantResponse(ID=number, TTL=5)
    assert kv_response.lease_grant_response(number, 5) == expected.SerializeToString()


@given(st.lists(key_values, max_size=5), st.booleans(), st.integers(0, 2**40))
def test_a_range_response_is_encoded_as_by_protobuf(
    kvs: list[kv_pb2.KeyValue], more: bool, count: int
) -> None:
    expected = rpc.RangeResponse(kvs=kvs, more=more, count=count)
    result = RangeResult([kv.SerializeToString() for kv in kvs], more, count)
    assert kv_response.range_response(result) == expected.SerializeToString()
    assert kv_response.range_response(result, b"header") == b"header" + expected.SerializeToString()


@given(key_values | st.none())
def test_a_put_response_is_encoded_as_by_protobuf(previous: kv_pb2.KeyValue | None) -> None:
    encoded = None if previous is None else previous.SerializeToString()
    assert (
        kv_response.put_response(encoded) == rpc.PutResponse(prev_kv=previous).SerializeToString()
    )


@given(st.integers(0, 2**40), st.lists(key_values, max_size=5))
def test_a_delete_response_is_encoded_as_by_protobuf(
    deleted: int, previous: list[kv_pb2.KeyValue]
) -> None:
    expected = rpc.DeleteRangeResponse(deleted=deleted, prev_kvs=previous)
    encoded = [kv.SerializeToString() for kv in previous]
    assert (
        kv_response.delete_response(deleted, kv_response.previous(encoded))
        == expected.SerializeToString()
    )


@given(st.booleans(), int64, st.binary(max_size=300))
def test_a_txn_response_is_encoded_as_by_protobuf(
    succeeded: bool, revision: int, value: bytes
) -> None:
    header = rpc.ResponseHeader(revision=revision)
    previous = kv_pb2.KeyValue(key=b"k", value=value)
    put = rpc.PutResponse(header=header, prev_kv=previous)
    nested = rpc.TxnResponse(header=rpc.ResponseHeader(), succeeded=True)
    expected = rpc.TxnResponse(
        succeeded=succeeded,
        responses=[rpc.ResponseOp(response_put=put), rpc.ResponseOp(response_txn=nested)],
    )
    one = kv_response.response_op(
        2, revision, kv_response.put_response(previous.SerializeToString())
    )
    other = kv_response.response_op(4, None, kv_response.txn_response(True, []))
    assert kv_response.txn_response(succeeded, [one, other]) == expected.SerializeToString()
    del expected.responses[1]
    assert kv_response.txn_response(succeeded, [one]) == expected.SerializeToString()
