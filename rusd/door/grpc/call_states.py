"""The states of calls.

A unary call:

    RECEIVING ── whole message, its end to come ─▶ READY ── end, or next turn ─▶ RUNNING ─▶ ENDED
        └──────── whole message and its end ─────────────────────────────────────▲

    every state ── refusal, deadline, reset by the client ─▶ ENDED

A stream has two sides, as its HTTP/2 stream has (`h2/states.py` holds the frames' rules; these are
the service's). Requests:

    OPEN ── END_STREAM received ─▶ ENDED ── all messages handed over, `half_closed` ─▶ DELIVERED

Responses:

    NO_HEADERS ── first message ─▶ HEADERS ── status ─▶ FINISHED ── `closed` ─▶ CLOSED
         └──────── status, or reset by the client ──────────▲

FINISHED is entered while a callback of the service may run; `closed` follows in the time of the
connection. Messages of the client after FINISHED, and of the service, are dropped.

Rule for editors: a state only moves forward, and no boolean beside it says what it says.
"""

from enum import IntEnum


class UnaryState(IntEnum):
    """The progress of a unary call."""

    RECEIVING = 0
    READY = 1
    RUNNING = 2
    ENDED = 3


class RequestState(IntEnum):
    """The client's side of a stream."""

    OPEN = 0
    ENDED = 1
    DELIVERED = 2


class ResponseState(IntEnum):
    """The service's side of a stream."""

    NO_HEADERS = 0
    HEADERS = 1
    FINISHED = 2
    CLOSED = 3
