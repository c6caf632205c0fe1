"""The states of a connection and of its streams: two tables, a rule of RFC 9113 beside each row.

Theory of operation
-------------------

A connection and each of its streams are in one state at a time. An event (a frame received, a
frame sent, the end of the socket) has an outcome in each state:

- a state: the event is legal, and this is the next state (often the same one);
- `IGNORE`: the event is legal and has no effect; a received frame is counted as overhead;
- `StreamFailure(code)`: RST_STREAM with this code ends the stream, other streams go on;
- `ConnectionFailure(code, text)`: GOAWAY with this code and text ends the connection.

Received frames pass through both tables: first the connection's row for the type of the frame,
then, for a frame with a stream, the stream's row. A flag is an event of its own, after its frame:
DATA with END_STREAM is `RECV_DATA`, then `RECV_END_STREAM`; HEADERS without END_HEADERS is
`RECV_HEADERS`, then `BLOCK_BEGINS`. The state of a stream without an object (`stream_table.py`)
follows from its number.

              RECV_HEADERS           END_STREAM (client)
    IDLE ─────────────────▶ OPEN ─────────────────────▶ HALF_CLOSED_REMOTE ── END_STREAM ──┐
                             │                                                             ▼
                             ├── END_STREAM (server) ─▶ HALF_CLOSED_LOCAL ── END_STREAM ─▶ CLOSED
                             │                               │ RST_STREAM (server)
                             └── RST_STREAM (server) ────────┴────▶ RESET

The reserved states of the RFC do not occur: a client must not push (8.4), and this server does
not. `CLOSED` is divided by what a late frame means: `RESET` for a stream that this server reset
while frames of the client may have been under way, `PASSED` for a number below the newest one,
whether that stream is closed or was never used.

What depends on more than a state (sizes, windows, rates, header fields) is no part of the tables.

Rules for editors
-----------------

1. A decision that depends on the state stands here, and in no other file. No boolean beside a
   state says what the state says.
2. Every pair of state and event has exactly one row, and every row names its section of RFC 9113.
   `tests/unit/door/h2/test_states.py` holds both, and shows each row on a live connection.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import NoReturn, TypeVar

from rusd.door.h2.errors import (
    FRAME_SIZE_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    STREAM_CLOSED,
    H2ConnectionError,
    H2StreamError,
)


class ConnectionState(IntEnum):
    """State of the connection as a whole."""

    #: The client's preface has not been received in full.
    PREFACE = 0
    #: The client's first SETTINGS frame is due.
    SETTINGS = 1
    #: Frames of all kinds are exchanged.
    OPEN = 2
    #: A header block has begun and not ended: only its CONTINUATION frames may come.
    OPEN_BLOCK = 3
    #: This server sent GOAWAY without an error: open streams are finished, new ones refused.
    GOING_AWAY = 4
    #: The same, within a header block.
    GOING_AWAY_BLOCK = 5
    #: Nothing is read or written any more.
    CLOSED = 6


class ConnectionEvent(IntEnum):
    """Received frames by their type (the first eleven have its number); other events behind."""

    RECV_DATA = 0
    RECV_HEADERS = 1
    RECV_PRIORITY = 2
    RECV_RST_STREAM = 3
    RECV_SETTINGS = 4
    RECV_PUSH_PROMISE = 5
    RECV_PING = 6
    RECV_GOAWAY = 7
    RECV_WINDOW_UPDATE = 8
    RECV_CONTINUATION = 9
    RECV_UNKNOWN = 10
    #: SETTINGS with the flag ACK.
    RECV_SETTINGS_ACK = 11
    RECV_PREFACE = 12
    #: HEADERS without END_HEADERS; CONTINUATION with it.
    BLOCK_BEGINS = 13
    BLOCK_ENDS = 14
    #: A header block opens a stream.
    NEW_STREAM = 15
    #: This server stops: GOAWAY without an error.
    SEND_GOAWAY = 16
    #: An error of the connection, or the end of its socket.
    END = 17


class StreamState(IntEnum):
    """States of RFC 9113, 5.1; the module docstring names the differences."""

    IDLE = 0
    OPEN = 1
    #: The client sent END_STREAM; the server may still send.
    HALF_CLOSED_REMOTE = 2
    #: The server sent END_STREAM; the client may still send.
    HALF_CLOSED_LOCAL = 3
    #: Ended by both sides or reset by the client, and the newest stream.
    CLOSED = 4
    #: Reset by this server.
    RESET = 5
    #: Older than the newest stream, and neither open nor reset by this server.
    PASSED = 6


class StreamEvent(IntEnum):
    """Frames with a stream, received and sent, and the flag END_STREAM."""

    RECV_HEADERS = 0
    RECV_DATA = 1
    RECV_END_STREAM = 2
    RECV_RST_STREAM = 3
    RECV_WINDOW_UPDATE = 4
    RECV_PRIORITY = 5
    SEND_HEADERS = 6
    SEND_DATA = 7
    SEND_END_STREAM = 8
    SEND_RST_STREAM = 9


@dataclass(frozen=True, slots=True)
class Ignore:
    """The event has no effect."""


@dataclass(frozen=True, slots=True)
class StreamFailure:
    """The outcome is a stream error (5.4.2)."""

    code: int


@dataclass(frozen=True, slots=True)
class ConnectionFailure:
    """The outcome is a connection error (5.4.1)."""

    code: int
    text: str


IGNORE = Ignore()
Failure = StreamFailure | ConnectionFailure
ConnectionOutcome = ConnectionState | Ignore | Failure
StreamOutcome = StreamState | Ignore | Failure


def fail(outcome: object, stream: int = 0) -> NoReturn:
    """Raise the error that is the outcome of an event on `stream`."""
    if isinstance(outcome, StreamFailure):
        raise H2StreamError(stream, outcome.code)
    assert isinstance(outcome, ConnectionFailure), outcome
    raise H2ConnectionError(outcome.code, outcome.text)


_C, _CE = ConnectionState, ConnectionEvent
_FRAMES = tuple(_CE)[: _CE.RECV_SETTINGS_ACK + 1]
_NO_PREFACE = ConnectionFailure(PROTOCOL_ERROR, "no HTTP/2 preface")
_SETTINGS_FIRST = ConnectionFailure(PROTOCOL_ERROR, "SETTINGS must come first")
_WITHIN_BLOCK = ConnectionFailure(PROTOCOL_ERROR, "a frame within a header block")
_NO_BLOCK = ConnectionFailure(PROTOCOL_ERROR, "CONTINUATION of nothing")
_PUSHED = ConnectionFailure(PROTOCOL_ERROR, "clients do not push")
_REPEATED = ConnectionFailure(FRAME_SIZE_ERROR, "frame too large")

#: Frames of any state in which frames of all kinds may come.
_ORDINARY = tuple(
    one for one in _FRAMES if one not in (_CE.RECV_PUSH_PROMISE, _CE.RECV_CONTINUATION)
)
_WITHOUT_SETTINGS = tuple(one for one in _FRAMES if one is not _CE.RECV_SETTINGS)
_NO_CONTINUATION = tuple(one for one in _FRAMES if one is not _CE.RECV_CONTINUATION)
_BLOCK = (_CE.BLOCK_BEGINS, _CE.BLOCK_ENDS, _CE.NEW_STREAM)

#: (state, events, outcome, rule)
CONNECTION_RULES: tuple[
    tuple[ConnectionState, tuple[ConnectionEvent, ...], ConnectionOutcome, str], ...
] = (
    (_C.PREFACE, (_CE.RECV_PREFACE,), _C.SETTINGS, "3.4: the client's preface is 24 fixed bytes"),
    (_C.PREFACE, _FRAMES, _NO_PREFACE, "3.4: the preface precedes every frame"),
    (_C.PREFACE, _BLOCK, _NO_PREFACE, "3.4: the same for what frames carry"),
    (_C.PREFACE, (_CE.SEND_GOAWAY,), _C.CLOSED, "6.8: no stream is left to be finished"),
    (_C.PREFACE, (_CE.END,), _C.CLOSED, "5.4.1"),

    (_C.SETTINGS, (_CE.RECV_SETTINGS,), _C.OPEN, "3.4: SETTINGS is the first frame"),
    (_C.SETTINGS, _WITHOUT_SETTINGS, _SETTINGS_FIRST, "3.4: any other first frame is an error"),
    (_C.SETTINGS, _BLOCK, _SETTINGS_FIRST, "3.4: the same for what frames carry"),
    (_C.SETTINGS, (_CE.RECV_PREFACE,), _REPEATED, "4.2: it reads as a large frame"),
    (_C.SETTINGS, (_CE.SEND_GOAWAY,), _C.CLOSED, "6.8: no stream is left to be finished"),
    (_C.SETTINGS, (_CE.END,), _C.CLOSED, "5.4.1"),

    (_C.OPEN, _ORDINARY, _C.OPEN, "4.1, 5.5: frames of all kinds, unknown ones are discarded"),
    (_C.OPEN, (_CE.RECV_PUSH_PROMISE,), _PUSHED, "8.4: a client cannot push"),
    (_C.OPEN, (_CE.RECV_CONTINUATION,), _NO_BLOCK, "6.10: only within a header block"),
    (_C.OPEN, (_CE.BLOCK_BEGINS,), _C.OPEN_BLOCK, "4.3: HEADERS without END_HEADERS"),
    (_C.OPEN, (_CE.BLOCK_ENDS,), _C.OPEN, "4.3: HEADERS with END_HEADERS is a whole block"),
    (_C.OPEN, (_CE.NEW_STREAM,), _C.OPEN, "5.1.1"),
    (_C.OPEN, (_CE.RECV_PREFACE,), _REPEATED, "4.2: it reads as a large frame"),
    (_C.OPEN, (_CE.SEND_GOAWAY,), _C.GOING_AWAY, "6.8: graceful shutdown"),
    (_C.OPEN, (_CE.END,), _C.CLOSED, "5.4.1"),

    (_C.OPEN_BLOCK, (_CE.RECV_CONTINUATION,), _C.OPEN_BLOCK, "6.10"),
    (_C.OPEN_BLOCK, _NO_CONTINUATION, _WITHIN_BLOCK, "4.3, 6.10: frames of a block are contiguous"),
    (_C.OPEN_BLOCK, (_CE.BLOCK_BEGINS, _CE.NEW_STREAM), _WITHIN_BLOCK, "4.3: one block at a time"),
    (_C.OPEN_BLOCK, (_CE.BLOCK_ENDS,), _C.OPEN, "6.10: CONTINUATION with END_HEADERS"),
    (_C.OPEN_BLOCK, (_CE.RECV_PREFACE,), _REPEATED, "4.2: it reads as a large frame"),
    (_C.OPEN_BLOCK, (_CE.SEND_GOAWAY,), _C.GOING_AWAY_BLOCK, "6.8: graceful shutdown"),
    (_C.OPEN_BLOCK, (_CE.END,), _C.CLOSED, "5.4.1"),

    (_C.GOING_AWAY, _ORDINARY, _C.GOING_AWAY, "6.8: streams that were open are finished"),
    (_C.GOING_AWAY, (_CE.RECV_PUSH_PROMISE,), _PUSHED, "8.4: a client cannot push"),
    (_C.GOING_AWAY, (_CE.RECV_CONTINUATION,), _NO_BLOCK, "6.10: only within a header block"),
    (_C.GOING_AWAY, (_CE.BLOCK_BEGINS,), _C.GOING_AWAY_BLOCK, "6.8: blocks keep HPACK's state"),
    (_C.GOING_AWAY, (_CE.BLOCK_ENDS,), _C.GOING_AWAY, "6.8: blocks keep HPACK's state"),
    (_C.GOING_AWAY, (_CE.NEW_STREAM,), StreamFailure(REFUSED_STREAM), "6.8, 8.7: safe to retry"),
    (_C.GOING_AWAY, (_CE.RECV_PREFACE,), _REPEATED, "4.2: it reads as a large frame"),
    (_C.GOING_AWAY, (_CE.SEND_GOAWAY,), IGNORE, "6.8: said already"),
    (_C.GOING_AWAY, (_CE.END,), _C.CLOSED, "5.4.1"),

    (_C.GOING_AWAY_BLOCK, (_CE.RECV_CONTINUATION,), _C.GOING_AWAY_BLOCK, "6.10"),
    (_C.GOING_AWAY_BLOCK, _NO_CONTINUATION, _WITHIN_BLOCK, "4.3, 6.10: contiguous"),
    (_C.GOING_AWAY_BLOCK, (_CE.BLOCK_BEGINS, _CE.NEW_STREAM), _WITHIN_BLOCK, "4.3"),
    (_C.GOING_AWAY_BLOCK, (_CE.BLOCK_ENDS,), _C.GOING_AWAY, "6.10: END_HEADERS"),
    (_C.GOING_AWAY_BLOCK, (_CE.RECV_PREFACE,), _REPEATED, "4.2: it reads as a large frame"),
    (_C.GOING_AWAY_BLOCK, (_CE.SEND_GOAWAY,), IGNORE, "6.8: said already"),
    (_C.GOING_AWAY_BLOCK, (_CE.END,), _C.CLOSED, "5.4.1"),

    (_C.CLOSED, tuple(_CE), IGNORE, "5.4.1: after GOAWAY for an error the connection is closed"),
)  # fmt: skip

_S, _SE = StreamState, StreamEvent
_NEVER_OPENED = ConnectionFailure(PROTOCOL_ERROR, "a frame for a stream that was never opened")
_CLOSED_HEADERS = ConnectionFailure(STREAM_CLOSED, "HEADERS on a closed stream")
_BACKWARDS = ConnectionFailure(PROTOCOL_ERROR, "stream numbers must grow")
_STREAM_CLOSED = StreamFailure(STREAM_CLOSED)
_SENDS = (_SE.SEND_HEADERS, _SE.SEND_DATA, _SE.SEND_END_STREAM)

#: (state, events, outcome, rule)
STREAM_RULES: tuple[tuple[StreamState, tuple[StreamEvent, ...], StreamOutcome, str], ...] = (
    (_S.IDLE, (_SE.RECV_HEADERS,), _S.OPEN, "5.1 idle: HEADERS opens the stream"),
    (_S.IDLE, (_SE.RECV_DATA,), _NEVER_OPENED, "5.1 idle: only HEADERS and PRIORITY"),
    (_S.IDLE, (_SE.RECV_END_STREAM,), _NEVER_OPENED, "5.1 idle: a flag of DATA or HEADERS"),
    (_S.IDLE, (_SE.RECV_RST_STREAM,), _NEVER_OPENED, "6.4: not for an idle stream"),
    (_S.IDLE, (_SE.RECV_WINDOW_UPDATE,), _NEVER_OPENED, "5.1 idle: only HEADERS and PRIORITY"),
    (_S.IDLE, (_SE.RECV_PRIORITY,), _S.IDLE, "5.1 idle, 6.3: in any state"),
    (_S.IDLE, _SENDS, IGNORE, "5.1: a server's answer follows a request"),
    (_S.IDLE, (_SE.SEND_RST_STREAM,), _S.IDLE, "6.3: a malformed PRIORITY of an idle stream"),

    (_S.OPEN, (_SE.RECV_HEADERS,), _S.OPEN, "8.1: trailers"),
    (_S.OPEN, (_SE.RECV_DATA,), _S.OPEN, "5.1 open: frames of any type"),
    (_S.OPEN, (_SE.RECV_END_STREAM,), _S.HALF_CLOSED_REMOTE, "5.1 open"),
    (_S.OPEN, (_SE.RECV_RST_STREAM,), _S.CLOSED, "5.1 open"),
    (_S.OPEN, (_SE.RECV_WINDOW_UPDATE,), _S.OPEN, "6.9"),
    (_S.OPEN, (_SE.RECV_PRIORITY,), _S.OPEN, "6.3: in any state"),
    (_S.OPEN, (_SE.SEND_HEADERS,), _S.OPEN, "5.1 open: frames of any type"),
    (_S.OPEN, (_SE.SEND_DATA,), _S.OPEN, "5.1 open: frames of any type"),
    (_S.OPEN, (_SE.SEND_END_STREAM,), _S.HALF_CLOSED_LOCAL, "5.1 open, 8.1: an early answer"),
    (_S.OPEN, (_SE.SEND_RST_STREAM,), _S.RESET, "5.1 open"),

    (_S.HALF_CLOSED_REMOTE, (_SE.RECV_HEADERS,), _STREAM_CLOSED, "5.1 half-closed (remote)"),
    (_S.HALF_CLOSED_REMOTE, (_SE.RECV_DATA,), _STREAM_CLOSED, "5.1 half-closed (remote), 6.1"),
    (_S.HALF_CLOSED_REMOTE, (_SE.RECV_END_STREAM,), _STREAM_CLOSED, "5.1 half-closed (remote)"),
    (_S.HALF_CLOSED_REMOTE, (_SE.RECV_RST_STREAM,), _S.CLOSED, "5.1 half-closed (remote)"),
    (_S.HALF_CLOSED_REMOTE, (_SE.RECV_WINDOW_UPDATE,), _S.HALF_CLOSED_REMOTE, "6.9"),
    (_S.HALF_CLOSED_REMOTE, (_SE.RECV_PRIORITY,), _S.HALF_CLOSED_REMOTE, "6.3: in any state"),
    (_S.HALF_CLOSED_REMOTE, (_SE.SEND_HEADERS,), _S.HALF_CLOSED_REMOTE, "5.1, 8.1: the answer"),
    (_S.HALF_CLOSED_REMOTE, (_SE.SEND_DATA,), _S.HALF_CLOSED_REMOTE, "5.1, 8.1: the answer"),
    (_S.HALF_CLOSED_REMOTE, (_SE.SEND_END_STREAM,), _S.CLOSED, "5.1 half-closed (remote)"),
    (_S.HALF_CLOSED_REMOTE, (_SE.SEND_RST_STREAM,), _S.RESET, "5.1 half-closed (remote)"),

    (_S.HALF_CLOSED_LOCAL, (_SE.RECV_HEADERS,), _S.HALF_CLOSED_LOCAL, "8.1: trailers"),
    (_S.HALF_CLOSED_LOCAL, (_SE.RECV_DATA,), _S.HALF_CLOSED_LOCAL, "5.1 half-closed (local)"),
    (_S.HALF_CLOSED_LOCAL, (_SE.RECV_END_STREAM,), _S.CLOSED, "5.1 half-closed (local)"),
    (_S.HALF_CLOSED_LOCAL, (_SE.RECV_RST_STREAM,), _S.CLOSED, "5.1 half-closed (local)"),
    (_S.HALF_CLOSED_LOCAL, (_SE.RECV_WINDOW_UPDATE,), _S.HALF_CLOSED_LOCAL, "6.9"),
    (_S.HALF_CLOSED_LOCAL, (_SE.RECV_PRIORITY,), _S.HALF_CLOSED_LOCAL, "6.3: in any state"),
    (_S.HALF_CLOSED_LOCAL, _SENDS, IGNORE, "5.1: the answer has ended"),
    (_S.HALF_CLOSED_LOCAL, (_SE.SEND_RST_STREAM,), _S.RESET, "8.1: the rest is not needed"),

    (_S.CLOSED, (_SE.RECV_HEADERS,), _CLOSED_HEADERS, "5.1 closed: after END_STREAM or RST_STREAM"),
    (_S.CLOSED, (_SE.RECV_DATA,), _STREAM_CLOSED, "6.1: neither open nor half-closed (local)"),
    (_S.CLOSED, (_SE.RECV_END_STREAM,), _STREAM_CLOSED, "6.1: a flag of DATA or HEADERS"),
    (_S.CLOSED, (_SE.RECV_RST_STREAM,), IGNORE, "5.1 closed: crossed with the end of the answer"),
    (_S.CLOSED, (_SE.RECV_WINDOW_UPDATE,), IGNORE, "5.1 closed, 6.9: for a short period"),
    (_S.CLOSED, (_SE.RECV_PRIORITY,), _S.CLOSED, "6.3: in any state"),
    (_S.CLOSED, _SENDS, IGNORE, "5.1 closed: no frame but PRIORITY is sent"),
    (_S.CLOSED, (_SE.SEND_RST_STREAM,), _S.RESET, "5.4.2: the answer to a frame that is too late"),

    (_S.RESET, (_SE.RECV_HEADERS,), IGNORE, "5.1 closed, 5.4.2: sent before RST_STREAM was seen"),
    (_S.RESET, (_SE.RECV_DATA,), IGNORE, "5.1 closed, 6.9: counts for the connection's window"),
    (_S.RESET, (_SE.RECV_END_STREAM,), IGNORE, "5.1 closed"),
    (_S.RESET, (_SE.RECV_RST_STREAM,), IGNORE, "5.1 closed: both sides reset the stream"),
    (_S.RESET, (_SE.RECV_WINDOW_UPDATE,), IGNORE, "5.1 closed"),
    (_S.RESET, (_SE.RECV_PRIORITY,), _S.RESET, "6.3: in any state"),
    (_S.RESET, _SENDS, IGNORE, "5.1 closed: no frame but PRIORITY is sent"),
    (_S.RESET, (_SE.SEND_RST_STREAM,), _S.RESET, "6.3: a malformed PRIORITY of a reset stream"),

    (_S.PASSED, (_SE.RECV_HEADERS,), _BACKWARDS, "5.1.1: a new stream has a larger number"),
    (_S.PASSED, (_SE.RECV_DATA,), _STREAM_CLOSED, "6.1: neither open nor half-closed (local)"),
    (_S.PASSED, (_SE.RECV_END_STREAM,), _STREAM_CLOSED, "6.1: a flag of DATA or HEADERS"),
    (_S.PASSED, (_SE.RECV_RST_STREAM,), IGNORE, "5.1 closed: crossed with the end of the answer"),
    (_S.PASSED, (_SE.RECV_WINDOW_UPDATE,), IGNORE, "5.1 closed, 6.9: for a short period"),
    (_S.PASSED, (_SE.RECV_PRIORITY,), _S.PASSED, "6.3: in any state"),
    (_S.PASSED, _SENDS, IGNORE, "5.1 closed: no frame but PRIORITY is sent"),
    (_S.PASSED, (_SE.SEND_RST_STREAM,), _S.RESET, "5.4.2: the answer to a frame that is too late"),
)  # fmt: skip

S = TypeVar("S", bound=IntEnum)
E = TypeVar("E", bound=IntEnum)
R = TypeVar("R")


def _table(
    states: type[S], events: type[E], rules: Iterable[tuple[S, tuple[E, ...], R, str]]
) -> tuple[tuple[R, ...], ...]:
    """Return `[state][event]` -> outcome; two list indices, so that a frame costs no dictionary."""
    found = {(state, event): outcome for state, some, outcome, _ in rules for event in some}
    return tuple(tuple(found[state, event] for event in events) for state in states)


CONNECTION = _table(ConnectionState, ConnectionEvent, CONNECTION_RULES)
STREAM = _table(StreamState, StreamEvent, STREAM_RULES)
#: `[state]`: whether the server may send on the stream, and whether DATA of the client is taken.
MAY_SEND = tuple(row[StreamEvent.SEND_DATA] is not IGNORE for row in STREAM)
MAY_RECEIVE = tuple(
    row[StreamEvent.RECV_DATA] is state for state, row in zip(StreamState, STREAM, strict=True)
)
