"""gzip messages (RFC 1952), accepted and refused as by grpc-go, with its texts.

A message may consist of several members, whose contents are joined; anything else after a member is
an error. Decompression stops at the limit: a message costs no more memory than an allowed one.
"""

import zlib

from rusd.rpc.errors import Code, EtcdError

#: zlib's window bits for the gzip format.
_GZIP = 31
#: Bytes of the smallest header of a member.
_HEADER_BYTES = 10
#: Bytes passed to zlib at a time: it copies those that it leaves.
_PIECE = 16 << 10
#: Members of one message; each costs about as much as 2 kB of data, and clients send one.
MEMBERS_AT_MOST = 64

_CUT_OFF = "unexpected EOF"
#: zlib's reasons, and Go's; others are corrupt data.
_REASONS = {
    "header": "gzip: invalid header",
    "compression method": "gzip: invalid header",
    "data check": "gzip: invalid checksum",
    "length check": "gzip: invalid checksum",
}


def decompress(message: bytes, limit: int) -> bytes:
    """The contents of `message`. Raises EtcdError if it is not gzip, or above `limit` bytes."""
    if len(message) < _HEADER_BYTES:
        raise _bad_header(_CUT_OFF if message else "EOF")
    plain: list[bytes] = []
    room = limit + 1
    position = 0
    for _ in range(MEMBERS_AT_MOST):
        if len(message) - position < _HEADER_BYTES:
            raise _bad_data(_CUT_OFF)
        try:
            position, room = _member(message, position, room, plain)
        except zlib.error as error:
            reason = _reason(str(error))
            first = position == 0 and reason.endswith("header")
            raise (_bad_header if first else _bad_data)(reason) from error
        if room <= 0:
            raise EtcdError(
                Code.RESOURCE_EXHAUSTED,
                f"grpc: received message after decompression larger than max {limit}",
            )
        if position == len(message):
            return b"".join(plain)
    raise _bad_data("gzip: too many members")


def _member(message: bytes, position: int, room: int, plain: list[bytes]) -> tuple[int, int]:
    """Decompress the member at `position` into `plain`, at most `room` bytes; returns where it ends
    and how much room is left.
    """
    unpacker = zlib.decompressobj(_GZIP)
    with memoryview(message) as view:
        while room > 0 and not unpacker.eof:
            piece = view[position : position + _PIECE]
            if not piece:
                raise _bad_data(_CUT_OFF)
            part = unpacker.decompress(piece, room)
            plain.append(part)
            room -= len(part)
            position += len(piece) - len(unpacker.unused_data) - len(unpacker.unconsumed_tail)
    return position, room


def _reason(text: str) -> str:
    return next(
        (go for ours, go in _REASONS.items() if ours in text), "flate: corrupt input in the message"
    )


def _bad_header(why: str) -> EtcdError:
    return EtcdError(Code.INTERNAL, f"grpc: failed to decompress the message: {why}")


def _bad_data(why: str) -> EtcdError:
    return EtcdError(Code.INTERNAL, f"grpc: failed to read decompressed data: {why}")
