"""gzip messages (RFC 1952), accepted and refused as grpc-go does, in its words.

A message may consist of several members, whose contents are joined. Anything else behind a member
is an error. Unpacking stops at the limit, so that a message costs no more memory than one that is
allowed.
"""

import zlib

from rusd.rpc.errors import Code, EtcdError

#: zlib's window bits for the gzip format.
_GZIP = 31
#: Bytes of the smallest header of a member.
_HEADER_BYTES = 10
#: Bytes handed to zlib at a time: what it leaves of them is copied.
_PIECE = 16 << 10
#: Members of one message. Each costs about as much as 2 kB of data; honest clients send one.
MEMBERS_AT_MOST = 64

_CUT_OFF = "unexpected EOF"
#: zlib's reasons, and Go's; others are corrupt data.
_REASONS = {
    "header": "gzip: invalid header",
    "compression method": "gzip: invalid header",
    "data check": "gzip: invalid checksum",
    "length check": "gzip: invalid checksum",
}


def unpacked(message: bytes, limit: int) -> bytes:
    """The contents of `message`. EtcdError if it is no gzip, or holds more than `limit` bytes."""
    if len(message) < _HEADER_BYTES:
        raise _not_begun(_CUT_OFF if message else "EOF")
    plain: list[bytes] = []
    room = limit + 1
    position = 0
    for _ in range(MEMBERS_AT_MOST):
        if len(message) - position < _HEADER_BYTES:
            raise _failed(_CUT_OFF)
        try:
            position, room = _member(message, position, room, plain)
        except zlib.error as error:
            reason = _reason(str(error))
            first = position == 0 and reason.endswith("header")
            raise (_not_begun if first else _failed)(reason) from error
        if room <= 0:
            raise EtcdError(
                Code.RESOURCE_EXHAUSTED,
                f"grpc: received message after decompression larger than max {limit}",
            )
        if position == len(message):
            return b"".join(plain)
    raise _failed("gzip: too many members")


def _member(message: bytes, position: int, room: int, plain: list[bytes]) -> tuple[int, int]:
    """Unpack the member at `position` into `plain`, `room` bytes at most; where it ends, and how
    much room is left."""
    unpacker = zlib.decompressobj(_GZIP)
    with memoryview(message) as view:
        while room > 0 and not unpacker.eof:
            piece = view[position : position + _PIECE]
            if not piece:
                raise _failed(_CUT_OFF)
            part = unpacker.decompress(piece, room)
            plain.append(part)
            room -= len(part)
            position += len(piece) - len(unpacker.unused_data) - len(unpacker.unconsumed_tail)
    return position, room


def _reason(text: str) -> str:
    return next(
        (go for ours, go in _REASONS.items() if ours in text), "flate: corrupt input in the message"
    )


def _not_begun(why: str) -> EtcdError:
    return EtcdError(Code.INTERNAL, f"grpc: failed to decompress the message: {why}")


def _failed(why: str) -> EtcdError:
    return EtcdError(Code.INTERNAL, f"grpc: failed to read decompressed data: {why}")
