"""A read of one key is, decoded by hand, what the protobuf library reads."""

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from rusd.proto import rpc_pb2 as rpc
from rusd.wire.range_request import KeyRequest, decode

FIELDS = [field.name for field in rpc.RangeRequest.DESCRIPTOR.fields]
numbers = st.integers(0, 300)
requests = st.builds(
    rpc.RangeRequest,
    key=st.binary(max_size=140),
    range_end=st.just(b"") | st.binary(max_size=3),
    limit=st.just(0) | numbers,
    revision=st.just(0) | numbers,
    serializable=st.booleans(),
    keys_only=st.booleans(),
)


def fields(request: object) -> list[object]:
    return [getattr(request, name) for name in FIELDS]


@given(requests | st.builds(rpc.RangeRequest, key=st.binary(max_size=140)))
def test_every_request_has_the_fields_that_the_library_reads(request: rpc.RangeRequest) -> None:
    found = decode(request.SerializeToString())
    assert fields(found) == fields(request)
    assert isinstance(found, KeyRequest | rpc.RangeRequest)


@given(st.binary(max_size=12) | st.binary(max_size=8).map(lambda rest: b"\x0a\x03" + rest))
def test_any_other_bytes_are_read_as_the_library_reads_them(raw: bytes) -> None:
    try:
        expected = rpc.RangeRequest.FromString(raw)
    except DecodeError:
        with pytest.raises(DecodeError):
            decode(raw)
    else:
        assert fields(decode(raw)) == fields(expected)


@pytest.mark.parametrize("serializable", [False, True])
@pytest.mark.parametrize("length", [1, 2, 123, 126, 127, 128, 1000])
def test_a_read_of_one_key_needs_no_message_of_the_library(length: int, serializable: bool) -> None:
    request = rpc.RangeRequest(key=b"k" * length, serializable=serializable)
    found = decode(request.SerializeToString())
    assert isinstance(found, KeyRequest) == (length + 2 * serializable < 0x80)
    assert fields(found) == fields(request)
