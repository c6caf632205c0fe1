"""Encoded messages in pieces, since joining a long one would hold the event loop."""

from collections.abc import Iterable


class Chunks(list[bytes]):
    """An encoded message, or a part of one, in pieces."""


#: An encoded message, or a part of one.
Encoded = bytes | Chunks

#: Bytes up to which pieces are joined.
WHOLE_BYTES = 4 << 20
#: Bytes up to which neighbours are joined in any case: each piece costs the transport a write.
_SMALL = 64 << 10


def size_of(encoded: Encoded) -> int:
    """Bytes."""
    return sum(map(len, encoded)) if isinstance(encoded, Chunks) else len(encoded)


def concatenated(*parts: Encoded) -> Encoded:
    """The parts one after the other; joined if they are short."""
    if sum(map(size_of, parts)) <= WHOLE_BYTES:
        return b"".join(b"".join(one) if isinstance(one, Chunks) else one for one in parts)
    pieces = Chunks()
    for one in parts:
        if isinstance(one, Chunks):
            pieces += one
        elif pieces and len(pieces[-1]) + len(one) <= _SMALL:
            pieces[-1] += one
        else:
            pieces.append(one)
    return pieces


def chunked(pieces: Iterable[bytes]) -> Encoded:
    """The pieces of one message; joined if they are short."""
    return concatenated(Chunks(pieces))


def whole(encoded: Encoded) -> bytes:
    """One piece, of a message that is known to be short."""
    return b"".join(encoded) if isinstance(encoded, Chunks) else encoded
