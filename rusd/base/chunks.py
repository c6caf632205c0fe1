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
    """Return the total size in bytes."""
    return sum(map(len, encoded)) if isinstance(encoded, Chunks) else len(encoded)


def concatenated(*parts: Encoded) -> Encoded:
    """Return the parts in order; joined if they are short."""
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
    """Split one message into pieces; joined if they are short."""
    return concatenated(Chunks(pieces))


def whole(encoded: Encoded) -> bytes:
    """Return a short message as one piece."""
    return b"".join(encoded) if isinstance(encoded, Chunks) else encoded
