"""Hostile clients against the core alone: each connection ends, and costs little until then.

The frames are made by hand, since no client library makes them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest
from hpack import Encoder

from rusd.door.h2 import PREFACE, Limits
from rusd.door.h2 import frames as wire
from rusd.door.h2.errors import (
    COMPRESSION_ERROR,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    PROTOCOL_ERROR,
)
from rusd.door.h2.rate_limit import RESET_BURST
from tests.support.memory import traced
from tests.unit.door.h2.peer import HEAD, HEADERS, TAIL, Served, frames_of

SETTINGS = wire.frame(wire.SETTINGS, 0, 0)
BLOCK = Encoder().encode(HEADERS)


def greeted(limits: Limits | None = None) -> Served:
    served = Served(limits)
    served.connection.receive(PREFACE + SETTINGS, 0.0)
    served.connection.outbound.take()
    return served


def request(stream: int, flags: int = 0) -> bytes:
    return wire.frame(wire.HEADERS, wire.END_HEADERS | flags, stream, BLOCK)


def sent_away(served: Served) -> int:
    """The code of the GOAWAY that ends what was written."""
    assert served.connection.closed
    last = frames_of(served.connection.outbound.take())[-1]
    assert last.kind == wire.GOAWAY
    return int(struct.unpack(">L", last.payload[4:8])[0])


def flood(served: Served, frames: Iterator[bytes], most: int) -> int:
    """Send frames, all at one moment, until the peer is cut off; how many that took."""
    for number in range(most):
        served.connection.receive(next(frames), 0.0)
        if served.connection.closed:
            return number
        # The owner writes what comes.
        if number % 100 == 0:
            served.connection.outbound.take()
    raise AssertionError(f"it bore {most} frames")


def same(frame: bytes) -> Iterator[bytes]:
    while True:
        yield frame


def rapid_resets() -> Iterator[bytes]:
    for stream in range(1, 1 << 30, 2):
        yield request(stream, wire.END_STREAM) + wire.reset(stream, 8)


def header_pieces(size: int) -> Iterator[bytes]:
    yield wire.frame(wire.HEADERS, 0, 1, BLOCK)
    while True:
        yield wire.frame(wire.CONTINUATION, 0, 1, b"\0" * size)


FLOODS = {
    "rapid reset": (rapid_resets, 2_000),
    "settings": (lambda: same(SETTINGS), 200),
    "pings that were answered": (
        lambda: same(wire.frame(wire.PING, wire.ACK, 0, bytes(8))),
        20_000,
    ),
    "priorities": (lambda: same(wire.frame(wire.PRIORITY, 0, 3, bytes(5))), 20_000),
    "window updates": (lambda: same(wire.window_update(0, 1)), 20_000),
    "unknown frames": (lambda: same(wire.frame(77, 0, 0, b"x")), 20_000),
    "empty continuations": (lambda: header_pieces(0), 20_000),
    "tiny continuations": (lambda: header_pieces(1), 20_000),
    "large continuations": (lambda: header_pieces(16_000), 10),
    "acknowledgements of nothing": (
        lambda: same(wire.frame(wire.SETTINGS, wire.ACK, 0)),
        20_000,
    ),
    "goaways": (lambda: same(wire.goaway(0, 0)), 20_000),
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_is_cut_off(name: str) -> None:
    frames, most = FLOODS[name]
    served = greeted()
    flood(served, frames(), most)
    assert sent_away(served) == ENHANCE_YOUR_CALM


def test_data_without_content_is_cut_off() -> None:
    served = greeted()
    served.connection.receive(request(1), 0.0)
    flood(served, same(wire.frame(wire.DATA, 0, 1)), 20_000)
    assert sent_away(served) == ENHANCE_YOUR_CALM


def test_data_for_streams_that_are_over_is_cut_off() -> None:
    served = greeted()
    served.connection.receive(request(1, wire.END_STREAM), 0.0)
    served.receivers[0].stream.complete(HEAD, b"", TAIL)
    flood(served, same(wire.frame(wire.DATA, 0, 1, b"x")), 20_000)
    assert sent_away(served) == ENHANCE_YOUR_CALM


@pytest.mark.parametrize(("age", "ends"), [(0.0, True), (0.9, True), (1.0, False), (60.0, False)])
def test_only_cancellations_of_young_streams_are_counted(age: float, ends: bool) -> None:
    """Older ones are deadlines: without a quorum, those of every call."""
    served = greeted()
    streams = range(1, 4 * RESET_BURST, 2)
    served.connection.receive(b"".join(map(request, streams)), 0.0)
    for stream in streams:
        served.connection.receive(wire.reset(stream, 8), age)
    assert served.connection.closed is ends
    assert ends or all(receiver.over for receiver in served.receivers)
    if ends:
        assert sent_away(served) == ENHANCE_YOUR_CALM


def test_old_streams_do_not_excuse_a_rapid_reset() -> None:
    served = greeted()
    served.connection.receive(request(1), 0.0)
    served.connection.receive(wire.reset(1, 8), 1.0)
    young = b"".join(
        request(stream) + wire.reset(stream, 8) for stream in range(3, 3 * RESET_BURST, 2)
    )
    served.connection.receive(young, 1.0)
    assert sent_away(served) == ENHANCE_YOUR_CALM


def test_a_client_that_is_answered_may_reset_and_update_all_day() -> None:
    served = greeted()
    stream = 1
    for _ in range(20_000):
        served.connection.receive(request(stream, wire.END_STREAM), 0.0)
        served.receivers.pop().stream.complete(HEAD, b"x", TAIL)
        updates = wire.window_update(0, 1) * 2
        served.connection.receive(request(stream + 2) + wire.reset(stream + 2, 8) + updates, 0.0)
        served.receivers.clear()
        served.connection.outbound.take()
        stream += 4
    assert not served.connection.closed


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (wire.window_update(0, wire.LARGEST_WINDOW), FLOW_CONTROL_ERROR),
        (wire.frame(wire.SETTINGS, 0, 0, struct.pack(">HL", 4, 1 << 31)), FLOW_CONTROL_ERROR),
        (wire.frame(wire.HEADERS, wire.END_HEADERS, 1, b"\xff\xff\xff\xff"), COMPRESSION_ERROR),
        (wire.frame(wire.HEADERS, wire.END_HEADERS, 1, b"\x80"), COMPRESSION_ERROR),
        (b"\xff\xff\xff\x00\x00\x00\x00\x00\x01", FRAME_SIZE_ERROR),
        (wire.frame(wire.PUSH_PROMISE, 0, 1, bytes(4)), PROTOCOL_ERROR),
        (request(2), PROTOCOL_ERROR),
        (wire.frame(wire.DATA, wire.PADDED, 1, b"\xff"), PROTOCOL_ERROR),
    ],
)
def test_a_broken_frame_ends_the_connection(frame: bytes, code: int) -> None:
    served = greeted()
    served.connection.receive(request(1) if frame[3] == wire.DATA else b"", 0.0)
    served.connection.receive(frame, 0.0)
    assert sent_away(served) == code


def test_more_data_than_the_windows_allow_is_not_taken() -> None:
    served = greeted(Limits(stream_window=70_000, connection_window=100_000))
    served.connection.receive(request(1), 0.0)
    served.receivers[0].reads = False
    for _ in range(20):
        served.connection.receive(wire.frame(wire.DATA, 0, 1, b"x" * 16_384), 0.0)
    assert len(served.receivers[0].body) <= 70_000
    assert served.receivers[0].over


def test_a_header_bomb_is_cut_off_small() -> None:
    # One entry of 3,000 bytes in the table, then references to it: 3,000 bytes for one.
    encoder = Encoder()
    first = encoder.encode([*HEADERS, ("bomb", "x" * 3000)], huffman=False)
    served = greeted()
    served.connection.receive(wire.frame(wire.HEADERS, 5, 1, first), 0.0)
    assert not served.connection.closed
    with traced() as peak:
        bomb = encoder.encode(HEADERS) + b"\xbe" * 16_000
        served.connection.receive(wire.frame(wire.HEADERS, 5, 3, bomb), 0.0)
        assert peak() < 4 << 20
    assert sent_away(served) == ENHANCE_YOUR_CALM


def test_the_rest_of_a_read_waits_when_the_owners_time_is_spent() -> None:
    served = greeted()
    served.frames_at_a_time = 10
    tiny = b"".join(request(stream, wire.END_STREAM) for stream in range(1, 2 * 95, 2))
    served.connection.receive(tiny, 0.0)
    portions = 1
    while served.connection.more:
        assert len(served.receivers) == 10 * portions
        served.connection.act()
        portions += 1
    assert portions == 10
    assert len(served.receivers) == 95


def test_streams_of_a_lost_connection_are_aborted_in_portions() -> None:
    served = greeted()
    served.connection.receive(b"".join(request(stream) for stream in range(1, 200, 2)), 0.0)
    served.frames_at_a_time = 10
    served.connection.lost()
    assert sum(receiver.over for receiver in served.receivers) == 10
    while served.connection.more:
        served.connection.act()
    assert all(receiver.over for receiver in served.receivers)


def test_streams_that_never_end_are_bounded_in_number() -> None:
    served = greeted(Limits(streams_at_most=100))
    for stream in range(1, 2 * 500, 2):
        served.connection.receive(request(stream), 0.0)
    assert len(served.connection.streams) == 100
    assert not served.connection.closed


def test_half_a_frame_is_all_that_is_kept() -> None:
    served = greeted()
    head = wire.HEAD.pack(0x40, 0, wire.DATA, 0, 1)
    served.connection.receive(request(1) + head + b"x" * 100, 0.0)
    assert served.connection.unfinished
    for _ in range(100):
        served.connection.receive(b"x", 1.0)
    assert served.connection.began == 0.0  # it began then, and drips since


def test_half_a_frame_after_silence_has_its_time() -> None:
    served = greeted()
    served.connection.receive(wire.HEAD.pack(0x40, 0, wire.DATA, 0, 1), 100.0)
    assert served.connection.unfinished
    assert served.connection.began == 100.0


def test_a_header_block_has_no_more_time_for_each_piece() -> None:
    served = greeted()
    served.connection.receive(wire.frame(wire.HEADERS, 0, 1, b"x"), 100.0)
    served.connection.receive(wire.frame(wire.CONTINUATION, 0, 1, b"x"), 101.0)
    assert served.connection.unfinished
    assert served.connection.began == 100.0
