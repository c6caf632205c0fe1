"""The tables of states are complete, cite a rule in every row, and hold on a live connection."""

from __future__ import annotations

import re
import struct
from collections import Counter

import pytest
from hpack import Encoder

from rusd.door.h2 import PREFACE
from rusd.door.h2 import frames as wire
from rusd.door.h2.states import (
    CONNECTION,
    CONNECTION_RULES,
    IGNORE,
    MAY_SEND,
    STREAM,
    STREAM_RULES,
    ConnectionEvent,
    ConnectionFailure,
    ConnectionState,
    StreamEvent,
    StreamFailure,
    StreamState,
)
from tests.unit.door.h2.peer import HEAD, HEADERS, TAIL, Frame, Served, frames_of

SETTINGS = wire.frame(wire.SETTINGS, 0, 0)
REQUEST = Encoder().encode(HEADERS, huffman=False)
TRAILERS = b"\x00\x03sum\x011"
STREAM_NUMBER = 5


def test_every_pair_of_state_and_event_has_exactly_one_row() -> None:
    streams = Counter((state, event) for state, events, *_ in STREAM_RULES for event in events)
    assert streams == Counter((state, event) for state in StreamState for event in StreamEvent)
    connections = Counter(
        (state, event) for state, events, *_ in CONNECTION_RULES for event in events
    )
    assert connections == Counter(
        (state, event) for state in ConnectionState for event in ConnectionEvent
    )


def test_every_row_names_its_section_of_the_rfc() -> None:
    for *_, rule in (*STREAM_RULES, *CONNECTION_RULES):
        assert re.match(r"[3-8]\.\d", rule), rule


# Streams


def stream_in(state: StreamState) -> Served:
    """A connection whose stream 5 is in this state, brought there by frames."""
    served = Served()
    connection = served.connection
    connection.receive(PREFACE + SETTINGS, 0.0)
    if state is StreamState.IDLE:
        connection.outbound.take()
        return served
    flags = wire.END_HEADERS
    if state not in (StreamState.OPEN, StreamState.HALF_CLOSED_LOCAL, StreamState.RESET):
        flags |= wire.END_STREAM
    connection.receive(wire.frame(wire.HEADERS, flags, STREAM_NUMBER, REQUEST), 0.0)
    stream = served.receivers[0].stream
    if state is StreamState.HALF_CLOSED_LOCAL:
        stream.state = state  # left in the same step as it is entered, by RST_STREAM
    elif state is StreamState.RESET:
        stream.reset(8)
    elif state in (StreamState.CLOSED, StreamState.PASSED):
        stream.complete(HEAD, b"x", TAIL)
    if state is StreamState.PASSED:
        connection.receive(wire.frame(wire.HEADERS, flags, STREAM_NUMBER + 2, REQUEST), 0.0)
    connection.outbound.take()
    assert state_of(served) is state
    return served


def state_of(served: Served) -> StreamState:
    return served.connection._table.state(STREAM_NUMBER)


def received(event: StreamEvent, state: StreamState) -> bytes:
    match event:
        case StreamEvent.RECV_HEADERS if state is StreamState.IDLE:
            return wire.frame(wire.HEADERS, wire.END_HEADERS, STREAM_NUMBER, REQUEST)
        case StreamEvent.RECV_HEADERS:
            flags = wire.END_HEADERS | wire.END_STREAM
            return wire.frame(wire.HEADERS, flags, STREAM_NUMBER, TRAILERS)
        case StreamEvent.RECV_DATA:
            return wire.frame(wire.DATA, 0, STREAM_NUMBER, b"x")
        case StreamEvent.RECV_END_STREAM:
            return wire.frame(wire.DATA, wire.END_STREAM, STREAM_NUMBER, b"x")
        case StreamEvent.RECV_RST_STREAM:
            return wire.reset(STREAM_NUMBER, 8)
        case StreamEvent.RECV_WINDOW_UPDATE:
            return wire.window_update(STREAM_NUMBER, 1)
        case _:
            return wire.frame(wire.PRIORITY, 0, STREAM_NUMBER, bytes(5))


RECEIVED = [event for event in StreamEvent if event.name.startswith("RECV")]
SENT = [event for event in StreamEvent if event not in RECEIVED]
OPEN_STATES = (StreamState.OPEN, StreamState.HALF_CLOSED_REMOTE, StreamState.HALF_CLOSED_LOCAL)


@pytest.mark.parametrize("event", RECEIVED, ids=lambda event: event.name)
@pytest.mark.parametrize("state", StreamState, ids=lambda state: state.name)
def test_a_frame_of_a_stream_has_the_outcome_of_its_row(
    state: StreamState, event: StreamEvent
) -> None:
    served = stream_in(state)
    served.connection.receive(received(event, state), 0.0)
    output = frames_of(served.connection.outbound.take())
    outcome = STREAM[state][event]
    if event is StreamEvent.RECV_HEADERS and state in (
        StreamState.OPEN,
        StreamState.HALF_CLOSED_LOCAL,
    ):
        outcome = STREAM[state][StreamEvent.RECV_END_STREAM]  # trailers end a request
    if isinstance(outcome, ConnectionFailure):
        assert goaway(output) == (outcome.code, outcome.text)
        assert served.connection.closed
        return
    assert not served.connection.closed
    resets = [one for one in output if one.kind == wire.RST_STREAM]
    if isinstance(outcome, StreamFailure):
        (reset,) = resets
        assert (reset.stream, reset.payload) == (STREAM_NUMBER, struct.pack(">L", outcome.code))
        assert state_of(served) is StreamState.RESET
    else:
        assert resets == []
        # (Of an open stream the object is asked: the number of one that ends means CLOSED anyway.)
        open_before = state in OPEN_STATES
        after = served.receivers[0].stream.state if open_before else state_of(served)
        assert after is (state if outcome is IGNORE else outcome)


@pytest.mark.parametrize("event", SENT, ids=lambda event: event.name)
@pytest.mark.parametrize("state", list(StreamState)[1:], ids=lambda state: state.name)
def test_a_frame_is_sent_only_where_its_row_allows_it(
    state: StreamState, event: StreamEvent
) -> None:
    served = stream_in(state)
    stream = served.receivers[0].stream
    match event:
        case StreamEvent.SEND_HEADERS:
            stream.head(HEAD)
        case StreamEvent.SEND_DATA:
            stream.send(b"x")
        case StreamEvent.SEND_END_STREAM:
            stream.end(TAIL)
        case _:
            if MAY_SEND[stream.state] or state is StreamState.HALF_CLOSED_LOCAL:
                served.connection.outbound.reset(stream, 8)
            else:  # the answer to a frame that is too late
                served.connection._requests.reset_sent(STREAM_NUMBER)
    output = frames_of(served.connection.outbound.take())
    outcome = STREAM[state][event]
    if outcome is IGNORE:
        assert output == []
        assert state_of(served) is state
    elif outcome is StreamState.HALF_CLOSED_LOCAL:
        # The rest of the request is not needed: RST_STREAM with NO_ERROR follows at once.
        assert output[-1].kind == wire.RST_STREAM
        assert state_of(served) is STREAM[outcome][StreamEvent.SEND_RST_STREAM]
    else:
        assert state_of(served) is outcome


# The connection


def connection_in(state: ConnectionState) -> Served:
    served = Served()
    connection = served.connection
    if state is not ConnectionState.PREFACE:
        connection.receive(PREFACE, 0.0)
    if state not in (ConnectionState.PREFACE, ConnectionState.SETTINGS):
        connection.receive(SETTINGS, 0.0)
    if state in (ConnectionState.OPEN_BLOCK, ConnectionState.GOING_AWAY_BLOCK):
        connection.receive(wire.frame(wire.HEADERS, 0, 1, REQUEST[:5]), 0.0)
    if state in (ConnectionState.GOING_AWAY, ConnectionState.GOING_AWAY_BLOCK):
        connection.drain()
    if state is ConnectionState.CLOSED:
        connection.lost()
    connection.outbound.take()
    assert connection.state is state
    return served


EVENTS = ConnectionEvent
FRAMES = {
    EVENTS.RECV_DATA: wire.frame(wire.DATA, 0, 1, b"x"),
    EVENTS.RECV_HEADERS: wire.frame(wire.HEADERS, wire.END_HEADERS, 3, REQUEST),
    EVENTS.RECV_PRIORITY: wire.frame(wire.PRIORITY, 0, 3, bytes(5)),
    EVENTS.RECV_RST_STREAM: wire.reset(1, 8),
    EVENTS.RECV_SETTINGS: SETTINGS,
    EVENTS.RECV_PUSH_PROMISE: wire.frame(wire.PUSH_PROMISE, 0, 1, bytes(4)),
    EVENTS.RECV_PING: wire.frame(wire.PING, 0, 0, bytes(8)),
    EVENTS.RECV_GOAWAY: wire.goaway(0, 0),
    EVENTS.RECV_WINDOW_UPDATE: wire.window_update(0, 1),
    EVENTS.RECV_CONTINUATION: wire.frame(wire.CONTINUATION, 0, 1, b""),
    EVENTS.RECV_UNKNOWN: wire.frame(77, 0, 0),
    EVENTS.RECV_SETTINGS_ACK: wire.SETTINGS_ACK,
    EVENTS.RECV_PREFACE: PREFACE,
    EVENTS.BLOCK_BEGINS: wire.frame(wire.HEADERS, 0, 3, REQUEST[:5]),
    EVENTS.NEW_STREAM: wire.frame(wire.HEADERS, wire.END_HEADERS, 3, REQUEST),
}


@pytest.mark.parametrize("event", ConnectionEvent, ids=lambda event: event.name)
@pytest.mark.parametrize("state", ConnectionState, ids=lambda state: state.name)
def test_a_frame_of_a_connection_has_the_outcome_of_its_row(
    state: ConnectionState, event: ConnectionEvent
) -> None:
    served = connection_in(state)
    connection = served.connection
    in_block = state.name.endswith("_BLOCK")
    match event:
        case ConnectionEvent.SEND_GOAWAY:
            connection.drain()
        case ConnectionEvent.END:
            connection.lost()
        case ConnectionEvent.BLOCK_ENDS if in_block:
            rest = wire.frame(wire.CONTINUATION, wire.END_HEADERS, 1, REQUEST[5:])
            connection.receive(rest, 0.0)
        case ConnectionEvent.BLOCK_ENDS:
            connection.receive(FRAMES[ConnectionEvent.RECV_HEADERS], 0.0)
        case ConnectionEvent.RECV_DATA | ConnectionEvent.RECV_RST_STREAM if not in_block:
            open_one = wire.frame(wire.HEADERS, wire.END_HEADERS, 1, REQUEST)
            before = b"" if state < ConnectionState.OPEN else open_one
            connection.receive(before + FRAMES[event], 0.0)
        case _:
            connection.receive(FRAMES[event], 0.0)
    output = frames_of(connection.outbound.take())
    outcome = CONNECTION[state][event]
    if isinstance(outcome, ConnectionFailure):
        assert connection.state is ConnectionState.CLOSED
        if state is not ConnectionState.PREFACE:  # before it nothing is sent at all
            assert goaway(output) == (outcome.code, outcome.text)
    elif isinstance(outcome, StreamFailure):
        assert connection.state is state
        assert output[-1].payload == struct.pack(">L", outcome.code)
    else:
        assert connection.state is (state if outcome is IGNORE else outcome)
        assert output == [] or state is not ConnectionState.CLOSED


def test_a_preface_in_two_pieces_is_read() -> None:
    for cut in range(1, len(PREFACE)):
        served = Served()
        served.connection.receive(PREFACE[:cut], 0.0)
        served.connection.receive(PREFACE[cut:] + SETTINGS, 0.0)
        assert served.connection.state is ConnectionState.OPEN


def goaway(output: list[Frame]) -> tuple[int, str]:
    last = output[-1]
    assert last.kind == wire.GOAWAY
    return int(struct.unpack(">L", last.payload[4:8])[0]), last.payload[8:].decode()
