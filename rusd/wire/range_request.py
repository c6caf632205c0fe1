"""RangeRequest: reads of one key, which are most of all requests, without a protobuf message.

A request with a key and nothing else, or with `serializable` besides, as every client encodes it,
is recognized by its length; any other is the library's to read.
"""

from typing import ClassVar

from rusd.proto import rpc_pb2 as rpc

_read = rpc.RangeRequest.FromString
#: Tag of `key`; `serializable` set to true.
_KEY = 0x0A
_SERIALIZABLE = b"\x38\x01"


class KeyRequest:
    """A RangeRequest of one key, to be read only; what cannot be set has its default value."""

    __slots__ = ("key", "serializable")

    DESCRIPTOR: ClassVar = rpc.RangeRequest.DESCRIPTOR
    range_end: ClassVar[bytes] = b""
    limit: ClassVar[int] = 0
    revision: ClassVar[int] = 0
    sort_order: ClassVar[int] = 0
    sort_target: ClassVar[int] = 0
    keys_only: ClassVar[bool] = False
    count_only: ClassVar[bool] = False
    min_mod_revision: ClassVar[int] = 0
    max_mod_revision: ClassVar[int] = 0
    min_create_revision: ClassVar[int] = 0
    max_create_revision: ClassVar[int] = 0

    def __init__(self, key: bytes, serializable: bool) -> None:
        self.key = key
        self.serializable = serializable


#: A request as it was read.
RangeRequest = rpc.RangeRequest | KeyRequest


def decode(raw: bytes) -> RangeRequest:
    """A RangeRequest. Raises protobuf's DecodeError."""
    size = len(raw) - 2
    # (A length below 128 is one byte; longer keys are rare.)
    if 0 < size < 0x80 and raw[0] == _KEY:
        length = raw[1]
        if length == size:
            return KeyRequest(raw[2:], False)
        if length == size - 2 and length and raw.endswith(_SERIALIZABLE):
            return KeyRequest(raw[2:-2], True)
    return _read(raw)
