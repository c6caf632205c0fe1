"""Frames of HTTP/2 (RFC 9113, sections 4 and 6): constants, and encoders of short frames."""

import struct

#: The client's preface (3.4).
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY = range(8)
WINDOW_UPDATE, CONTINUATION = 8, 9

END_STREAM = 0x01
ACK = 0x01
END_HEADERS = 0x04
PADDED = 0x08
PRIORITIZED = 0x20

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS = 1, 2, 3
INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = 4, 5, 6

#: Window, largest frame and HPACK table of either side until its SETTINGS say otherwise.
DEFAULT_WINDOW = 65535
DEFAULT_FRAME = 16384
DEFAULT_TABLE = 4096
LARGEST_FRAME = (1 << 24) - 1
LARGEST_WINDOW = (1 << 31) - 1
#: A setting without a limit.
UNLIMITED = (1 << 32) - 1

#: A frame's head: length (16 high bits, 8 low), type, flags, stream.
HEAD = struct.Struct(">HBBBL")
HEAD_SIZE = HEAD.size

_LONG = struct.Struct(">L")
_SETTING = struct.Struct(">HL")


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Encode a whole frame."""
    size = len(payload)
    return HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream) + payload


def settings(values: dict[int, int]) -> bytes:
    """Encode a SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*item) for item in values.items()))


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """Return (identifier, value) pairs of a payload whose length is a multiple of six."""
    return list(_SETTING.iter_unpack(payload))


def reset(stream: int, code: int) -> bytes:
    """Encode a RST_STREAM frame."""
    return frame(RST_STREAM, 0, stream, _LONG.pack(code))


def window_update(stream: int, increment: int) -> bytes:
    """Encode a WINDOW_UPDATE frame."""
    return frame(WINDOW_UPDATE, 0, stream, _LONG.pack(increment))


def goaway(last_stream: int, code: int, text: str = "") -> bytes:
    """Encode a GOAWAY frame."""
    return frame(GOAWAY, 0, 0, _LONG.pack(last_stream) + _LONG.pack(code) + text.encode())


def number(payload: bytes) -> int:
    """Decode four bytes as an unsigned number."""
    return int.from_bytes(payload[:4], "big")


SETTINGS_ACK = frame(SETTINGS, ACK, 0)
