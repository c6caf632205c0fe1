"""SETTINGS: the server's values, and the effect of the client's (RFC 9113, 6.5)."""

from rusd.door.h2 import frames
from rusd.door.h2.errors import (
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    PROTOCOL_ERROR,
    H2ConnectionError,
)
from rusd.door.h2.inbound import Limits
from rusd.door.h2.outbound import Outbound


def server_preface(limits: Limits) -> bytes:
    """The first frames of the server: its SETTINGS, and the window of the connection (3.4)."""
    announced = {
        frames.INITIAL_WINDOW_SIZE: limits.stream_window,
        frames.MAX_HEADER_LIST_SIZE: limits.header_list,
    }
    if limits.max_streams < frames.UNLIMITED:
        announced[frames.MAX_CONCURRENT_STREAMS] = limits.max_streams
    preface = frames.settings(announced)
    if limits.connection_window > frames.DEFAULT_WINDOW:
        preface += frames.window_update(0, limits.connection_window - frames.DEFAULT_WINDOW)
    return preface


def apply(payload: bytes, outbound: Outbound) -> None:
    """Apply the client's values in order. Raises H2ConnectionError for an invalid one."""
    if len(payload) % 6:
        raise H2ConnectionError(FRAME_SIZE_ERROR, "SETTINGS cut off")
    initial_window = outbound.initial_window
    for identifier, value in frames.read_settings(payload):
        if identifier == frames.INITIAL_WINDOW_SIZE:
            # (That this takes a stream's window beyond the largest is noticed at its next update,
            # as in grpc-go: to check every stream would not be O(1).)
            if value > frames.LARGEST_WINDOW:
                raise H2ConnectionError(FLOW_CONTROL_ERROR, "window too large")
            initial_window = value
        elif identifier == frames.MAX_FRAME_SIZE:
            if not frames.DEFAULT_FRAME <= value <= frames.LARGEST_FRAME:
                raise H2ConnectionError(PROTOCOL_ERROR, "frame size out of range")
            # (Frames sent stay at the default size, so that streams get their turns.)
        elif identifier == frames.ENABLE_PUSH:
            if value > 1:
                raise H2ConnectionError(PROTOCOL_ERROR, "ENABLE_PUSH is 0 or 1")
        elif identifier == frames.HEADER_TABLE_SIZE and value < frames.DEFAULT_TABLE:
            # Blocks sent use no table; the update is due all the same (RFC 7541, 4.2).
            outbound.table_update = b"\x20"
    outbound.resize(initial_window)
