"""The core never raises for any input, and writes whole frames only."""

from __future__ import annotations

import struct

from hpack import Encoder
from hypothesis import given
from hypothesis import strategies as st

from rusd.door.h2 import PREFACE, Limits
from rusd.door.h2 import frames as wire
from tests.unit.door.h2.peer import HEAD, HEADERS, TAIL, Served, frames_of

STREAMS = st.sampled_from([0, 1, 2, 3, 5, 7, 9, (1 << 31) - 1])
NUMBERS = st.sampled_from([0, 1, 5, 65_535, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1])
BLOCKS = st.one_of(
    st.just(Encoder().encode(HEADERS)),
    st.just(Encoder().encode([*HEADERS, ("content-length", "5")])),
    st.just(Encoder().encode([("sum", "1")])),
    st.binary(max_size=40),
)


def framed(kind: int, payload: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.builds(
        lambda flags, stream, body: wire.frame(kind, flags, stream, body),
        st.sampled_from([0, 1, 4, 5, 8, 9, 12, 13, 0x20, 0x25, 0xFF]),
        STREAMS,
        payload,
    )


FRAMES = st.one_of(
    framed(wire.HEADERS, BLOCKS),
    framed(wire.CONTINUATION, BLOCKS),
    framed(wire.DATA, st.binary(max_size=50) | st.just(b"x" * 16_384)),
    framed(wire.RST_STREAM, st.builds(lambda code: struct.pack(">L", code), NUMBERS)),
    framed(wire.WINDOW_UPDATE, st.builds(lambda size: struct.pack(">L", size), NUMBERS)),
    framed(
        wire.SETTINGS,
        st.lists(st.tuples(st.integers(0, 8), NUMBERS), max_size=3).map(
            lambda pairs: b"".join(struct.pack(">HL", *pair) for pair in pairs)
        ),
    ),
    framed(wire.PING, st.just(bytes(8)) | st.binary(max_size=9)),
    framed(wire.GOAWAY, st.binary(max_size=12)),
    framed(wire.PRIORITY, st.binary(max_size=6)),
    framed(11, st.binary(max_size=6)),
    st.binary(max_size=30),
)
#: What the server does after a read: answer some streams, in some way.
DEEDS = st.sampled_from(["nothing", "complete", "head", "send", "end", "reset", "hold", "go on"])


def act(served: Served, deed: str) -> None:
    for receiver in served.receivers:
        stream = receiver.stream
        if deed == "complete":
            stream.complete(HEAD, b"y" * 70_000, TAIL)
        elif deed == "head":
            stream.head(HEAD)
        elif deed == "send":
            stream.send(b"z" * 20_000)
        elif deed == "end":
            stream.end(TAIL)
        elif deed == "reset":
            stream.reset(8)
    if deed in ("hold", "go on"):
        served.connection.outbound.hold(deed == "hold")


def check(served: Served, connection_window: int) -> None:
    connection = served.connection
    frames_of(connection.outbound.take())
    assert connection.outbound.queued == sum(one.queued for one in connection.streams.values()) >= 0
    assert connection.outbound.window >= 0
    if connection.closed:
        assert connection.streams == {}
    for receiver in served.receivers:
        stream = receiver.stream
        assert stream.receive_window >= 0 or receiver.over
        if receiver.over:
            assert stream.id not in connection.streams
            assert stream.queued == 0


@given(st.lists(st.tuples(FRAMES, DEEDS), max_size=30), st.integers(1, 40), st.booleans())
def test_any_frames_in_any_pieces(steps: list[tuple[bytes, str]], piece: int, greet: bool) -> None:
    served = Served(Limits(stream_window=70_000, connection_window=100_000, streams_at_most=5))
    if greet:
        served.connection.receive(PREFACE + wire.frame(wire.SETTINGS, 0, 0), 0.0)
    for number, (data, deed) in enumerate(steps):
        for start in range(0, len(data), max(piece, len(data) // 20)):
            served.connection.receive(data[start : start + max(piece, len(data) // 20)], number)
        act(served, deed)
        check(served, 100_000)
    served.connection.lost()
    check(served, 100_000)
    act(served, "complete")
    assert served.connection.outbound.take() == b""


@given(st.binary(max_size=200))
def test_any_bytes_at_all(data: bytes) -> None:
    for start in (b"", PREFACE, PREFACE + wire.frame(wire.SETTINGS, 0, 0)):
        served = Served()
        served.connection.receive(start + data, 0.0)
        check(served, 0)
