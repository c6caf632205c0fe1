"""The frames of a header block: HEADERS and its CONTINUATION frames (RFC 9113, 4.3 and 6.10)."""

from rusd.door.h2 import frames
from rusd.door.h2.errors import (
    ENHANCE_YOUR_CALM,
    FRAME_SIZE_ERROR,
    PROTOCOL_ERROR,
    H2ConnectionError,
)

#: A CONTINUATION frame with less counts as overhead.
SMALL_PIECE = 1 << 10


class HeaderBlock:
    """The incomplete header block; at most one, of at most `limit` bytes."""

    __slots__ = ("_limit", "_size", "flags", "stream")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        #: Stream and flags of its HEADERS frame.
        self.stream = 0
        self.flags = 0

    def begin(self, stream: int, flags: int, piece: bytes) -> None:
        self.stream, self.flags, self._size = stream, flags, len(piece)

    def add(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._limit:
            raise H2ConnectionError(ENHANCE_YOUR_CALM, "header block too large")


def fragment(flags: int, ident: int, payload: bytes) -> bytes:
    """Return the header block fragment of a HEADERS frame (6.2)."""
    payload = unpadded(flags, payload)
    if not flags & frames.PRIORITIZED:
        return payload
    if len(payload) < 5:
        raise H2ConnectionError(FRAME_SIZE_ERROR, "HEADERS too short")
    if frames.number(payload) & frames.LARGEST_WINDOW == ident:
        raise H2ConnectionError(PROTOCOL_ERROR, "a stream depends on itself")
    return payload[5:]


def unpadded(flags: int, payload: bytes) -> bytes:
    """Return the payload of a DATA or HEADERS frame without its padding (6.1)."""
    if not flags & frames.PADDED:
        return payload
    if not payload:
        raise H2ConnectionError(FRAME_SIZE_ERROR, "no room for the length of padding")
    padding = payload[0]
    if padding >= len(payload):
        raise H2ConnectionError(PROTOCOL_ERROR, "more padding than frame")
    return payload[1 : len(payload) - padding]
