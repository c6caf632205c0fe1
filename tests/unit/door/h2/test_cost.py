"""The cost of input: n bytes take O(n) steps, however many streams are open and wait.

Steps are lines of Python, so the bounds hold on any machine. `test_nothing_costs_more_...` searches
for the most expensive bytes there are; run it for longer with HYPOTHESIS_PROFILE or `--hypothesis-
seed`, and read the worst it met with `--hypothesis-show-statistics`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hpack import Encoder
from hypothesis import given, settings, target
from hypothesis import strategies as st

from rusd.door.h2 import PREFACE, Limits
from rusd.door.h2 import frames as wire
from tests.unit.door.h2.peer import HEAD, HEADERS, TAIL, Served
from tests.unit.door.h2.work import lines_run

#: Lines for one byte of input, and for a read that brings nothing.
PER_BYTE = 30
IN_ANY_CASE = 2000

BLOCK = Encoder().encode(HEADERS)
ENCODER = Encoder()
ENCODER.encode(HEADERS)
REPEATED = ENCODER.encode(HEADERS)


def pairs(*some: tuple[int, int]) -> bytes:
    return wire.frame(wire.SETTINGS, 0, 0, b"".join(struct.pack(">HL", *one) for one in some))


def crowded(streams: int, window: int = 0) -> Served:
    """A connection on which `streams` answers wait, and as many requests are not complete."""
    served = Served(Limits(stream_window=70_000))
    opened = (
        wire.frame(wire.HEADERS, wire.END_HEADERS | (number % 2), 1 + 2 * number, BLOCK)
        for number in range(2 * streams)
    )
    hello = PREFACE + pairs((wire.INITIAL_WINDOW_SIZE, window))
    served.connection.receive(hello + b"".join(opened), 0.0)
    for receiver in served.receivers:
        if receiver.ended:
            receiver.stream.complete(HEAD, b"x" * 20_000, TAIL)
    served.connection.outbound.take()
    assert len(served.connection.streams) == 2 * streams
    return served


def cost(served: Served, data: bytes) -> int:
    def work() -> None:
        for start in range(0, len(data), 16_384):
            served.connection.receive(data[start : start + 16_384], 0.0)
            served.connection.outbound.take()

    return lines_run(work)


ALTERNATING = [(wire.INITIAL_WINDOW_SIZE, number % 2) for number in range(2700)]
UPDATES = b"".join(wire.window_update(0, 1) for _ in range(500))
FRAMES: dict[str, Callable[[], bytes]] = {
    "one SETTINGS frame of many initial windows": lambda: pairs(*ALTERNATING),
    "many SETTINGS frames of one initial window": lambda: b"".join(
        pairs(one) for one in ALTERNATING[:90]
    ),
    "SETTINGS of header tables": lambda: pairs(*[(wire.HEADER_TABLE_SIZE, 0)] * 2700),
    "SETTINGS nobody knows": lambda: pairs(*[(77, 1)] * 2700),
    "acknowledgements": lambda: wire.frame(wire.SETTINGS, wire.ACK, 0) * 500,
    "updates of the connection's window": lambda: UPDATES,
    "updates of a stream that waits": lambda: wire.window_update(3, 1) * 500,
    "updates of every stream": lambda: b"".join(
        wire.window_update(1 + 2 * number, 1) for number in range(500)
    ),
    "updates of a stream that is over": lambda: wire.reset(3, 8) + wire.window_update(3, 1) * 500,
    "priorities": lambda: wire.frame(wire.PRIORITY, 0, 3, bytes(5)) * 500,
    "pings": lambda: wire.frame(wire.PING, 0, 0, bytes(8)) * 500,
    "resets": lambda: b"".join(wire.reset(1 + 2 * number, 8) for number in range(500)),
    "requests that are reset": lambda: b"".join(
        wire.frame(wire.HEADERS, 4, 10_001 + 2 * number, REPEATED)
        + wire.reset(10_001 + 2 * number, 8)
        for number in range(400)
    ),
    "malformed requests": lambda: b"".join(
        wire.frame(wire.HEADERS, 4, 10_001 + 2 * number, b"\x82\x82") for number in range(400)
    ),
    "trailers for streams that are over": lambda: (
        b"".join(wire.reset(1 + 2 * number, 8) for number in range(500))
        + wire.frame(wire.HEADERS, 5, 1, b"\x00\x01a\x01b") * 300
    ),
    "empty data": lambda: wire.frame(wire.DATA, 0, 1) * 500,
    "padded data": lambda: wire.frame(wire.DATA, wire.PADDED, 1, b"\x05" + bytes(5)) * 500,
    "data of one byte": lambda: wire.frame(wire.DATA, 0, 1, b"x") * 500,
    "data for streams that are over": lambda: (
        wire.reset(1, 8) + wire.frame(wire.DATA, 0, 1, b"x") * 500
    ),
    "goodbyes": lambda: wire.goaway(0, 0) * 500,
    "unknown frames": lambda: wire.frame(77, 0, 0) * 500,
    "a block in many pieces": lambda: (
        wire.frame(wire.HEADERS, 0, 10_001, BLOCK) + wire.frame(wire.CONTINUATION, 0, 10_001) * 500
    ),
}


@pytest.mark.parametrize("name", FRAMES)
def test_frames_cost_no_more_where_many_streams_wait(name: str) -> None:
    data = FRAMES[name]()
    few, many = cost(crowded(5), data), cost(crowded(400), data)
    assert max(few, many) <= PER_BYTE * len(data) + IN_ANY_CASE
    # What may be sent of many streams' answers is theirs, once each; beyond it nothing grows.
    assert many <= 2 * few + 400 * 82 + IN_ANY_CASE


def test_raising_windows_by_next_to_nothing_ends_the_connection() -> None:
    """The first raise of windows that answers wait for is free; each further one must let them
    send something.
    """
    served = crowded(9000)
    rounds = 0
    while not served.connection.closed:
        rounds += 1
        assert rounds < 10
        served.connection.receive(pairs((wire.INITIAL_WINDOW_SIZE, rounds)), 0.0)
        served.connection.receive(wire.window_update(0, 10_000), 0.0)
        for _ in range(20):
            served.connection.outbound.take()
            served.connection.outbound.pump()
    assert rounds > 1


def test_a_client_that_raises_its_windows_for_real_is_served() -> None:
    served = crowded(900)
    served.connection.receive(wire.window_update(0, 1 << 30), 0.0)
    for rounds in range(1, 12):
        served.connection.receive(pairs((wire.INITIAL_WINDOW_SIZE, rounds * 2000)), 0.0)
        while served.connection.outbound.take():
            served.connection.outbound.pump()
    assert not served.connection.closed
    assert served.connection.outbound.queued == 0


STREAM = st.integers(0, 130).map(lambda number: 2 * number + 1)
NUMBER = st.sampled_from([1, 2, 100, 16_384, 65_535, 1 << 20])
TEMPLATES = st.one_of(
    st.builds(lambda one, by: wire.window_update(one, by), STREAM | st.just(0), NUMBER),
    st.builds(lambda one: wire.reset(one, 8), STREAM),
    st.builds(lambda one: wire.frame(wire.PRIORITY, 0, one, bytes(5)), STREAM),
    st.builds(
        lambda some: pairs(*some),
        st.lists(st.tuples(st.integers(1, 7), st.sampled_from([0, 1, 2, 16_384, 65_535]))),
    ),
    st.builds(
        lambda flags, one, block: wire.frame(wire.HEADERS, flags, one, block),
        st.sampled_from([0, 4, 5]),
        STREAM,
        st.sampled_from([BLOCK, REPEATED, b"\x82" * 50, b"\x82", b"\x00\x01a\x01b"]),
    ),
    st.builds(
        lambda flags, one, size: wire.frame(wire.DATA, flags, one, bytes(size)),
        st.sampled_from([0, 1, 8]),
        STREAM,
        st.sampled_from([0, 1, 100]),
    ),
    st.just(wire.frame(wire.PING, 0, 0, bytes(8))),
    st.just(wire.frame(wire.SETTINGS, wire.ACK, 0)),
    st.just(wire.frame(99, 0, 0)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(TEMPLATES, st.integers(1, 40)), min_size=1, max_size=8))
def test_nothing_costs_more_than_its_length(steps: list[tuple[bytes, int]]) -> None:
    served = crowded(40, window=100)
    data = b"".join(frame * times for frame, times in steps)
    taken = cost(served, data)
    target(taken / (len(data) + 100))
    # (What may be sent of the waiting answers is work of the calls: 2 frames for 16,384 bytes.)
    assert taken <= PER_BYTE * len(data) + IN_ANY_CASE + 80 * 120
