"""The encoding by hand is that of the protobuf library."""

from hypothesis import given
from hypothesis import strategies as st

from rusd.proto import rpc_pb2 as rpc
from rusd.wire.snapshot_response import snapshot_response


@given(
    st.sampled_from([0, 1, 127, 128, 2**32, 2**63]),
    st.sampled_from([b"", b"x", b"\0" * 128, b"y" * (256 << 10)]),
    st.sampled_from(["", "3.6.0", "ü"]),
)
def test_the_bytes_are_those_of_the_library(remaining: int, blob: bytes, version: str) -> None:
    message = rpc.SnapshotResponse(remaining_bytes=remaining, blob=blob, version=version)
    chunks = snapshot_response(remaining, blob, version.encode())
    assert b"".join(chunks) == message.SerializeToString()
