"""Messages in pieces are, joined, byte for byte what the protobuf library writes."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rusd.base import chunks
from rusd.base.chunks import Chunks, Encoded, concatenated, size_of
from rusd.base.sliced import SLICE_BYTES, Meter, finish
from rusd.mvcc.range_query import RangeResult
from rusd.proto import kv_pb2
from rusd.proto import rpc_pb2 as rpc
from rusd.wire import kv_response

pieces = st.lists(st.binary(max_size=20), max_size=8)


def joined(encoded: Encoded) -> bytes:
    return b"".join(encoded) if isinstance(encoded, Chunks) else encoded


@pytest.fixture(params=[0, 30, chunks.WHOLE_BYTES])
def whole(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Messages above this size stay in pieces."""
    monkeypatch.setattr(chunks, "WHOLE_BYTES", request.param)
    monkeypatch.setattr(chunks, "_SMALL", 10)
    return int(request.param)


of_any_size = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@of_any_size
@given(st.lists(st.binary(max_size=20) | pieces.map(Chunks), max_size=5))
def test_parts_are_joined_up_to_a_size(whole: int, parts: list[Encoded]) -> None:
    expected = b"".join(map(joined, parts))
    found = concatenated(*parts)
    assert joined(found) == expected
    assert size_of(found) == len(expected)
    assert isinstance(found, bytes) == (len(expected) <= whole)


@of_any_size
@given(st.integers(1, 5), st.integers(1, 5))
def test_a_txn_of_long_answers(whole: int, ranges: int, keys: int) -> None:
    kvs = [kv_pb2.KeyValue(key=b"k%d" % number, value=b"v" * number) for number in range(keys)]
    read = rpc.RangeResponse(header=rpc.ResponseHeader(revision=7), kvs=kvs, count=keys)
    deleted = rpc.DeleteRangeResponse(
        header=rpc.ResponseHeader(revision=8), deleted=keys, prev_kvs=kvs
    )
    expected = rpc.TxnResponse(succeeded=True)
    answers: list[Encoded] = []
    for _ in range(ranges):
        result = RangeResult([kv.SerializeToString() for kv in kvs], False, keys)
        body = kv_response.chunked(finish(kv_response.range_parts(result)))
        answers.append(kv_response.response_op(1, 7, body))
        expected.responses.add(response_range=read)
    previous = [kv_response.previous([kv.SerializeToString()]) for kv in kvs]
    body = kv_response.long_delete_response(keys, previous)
    answers.append(kv_response.response_op(3, 8, body))
    expected.responses.add(response_delete_range=deleted)
    nested = kv_response.response_op(4, None, kv_response.txn_response(True, answers))
    expected.responses.add(
        response_txn=rpc.TxnResponse(
            header=rpc.ResponseHeader(), succeeded=True, responses=expected.responses
        )
    )
    found = kv_response.txn_response(True, [*answers, nested])
    assert joined(found) == expected.SerializeToString()
    assert finish(kv_response.range_slices(RangeResult(), Meter())) == b""


@pytest.mark.parametrize("size", [10, 1_000, 100_000, 2 * SLICE_BYTES])
def test_a_piece_of_a_range_is_bounded_in_rows_and_in_bytes(size: int) -> None:
    rows = [b"%d" % number + b"x" * size for number in range(2 * kv_response.PART // size + 8)]
    parts = finish(kv_response.range_parts(RangeResult(framed=[*rows], count=len(rows))))
    assert b"".join(parts[:-1]) == b"".join(rows)
    assert all(len(part) <= SLICE_BYTES or part in rows for part in parts)
    assert all(part.count(b"x" * size) <= kv_response.PART for part in parts)
