"""Both ends of an HTTP/2 connection without a socket: our core, and hyper-h2 as its client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import Event

from rusd.door.h2 import Connection, Limits, Request, Stream, block

HEADERS = [
    (":method", "POST"),
    (":scheme", "http"),
    (":authority", "here"),
    (":path", "/a/b"),
    ("te", "trailers"),
]
HEAD = block([(":status", "200")])
TAIL = block([("done", "yes")])


class Receiver:
    """Writes down what one stream brought."""

    def __init__(self, stream: Stream, request: Request) -> None:
        self.stream = stream
        self.request = request
        self.body = b""
        self.ended = False
        self.over = False
        self.drains = 0
        #: Whether what comes is consumed at once.
        self.reads = True

    def data(self, chunk: bytes, ended: bool) -> None:
        self.body += chunk
        self.ended = ended
        if self.reads:
            self.stream.consumed(len(chunk))

    def aborted(self) -> None:
        self.over = True

    def drained(self) -> None:
        self.drains += 1


class Served:
    """Our end, driven by hand."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.receivers: list[Receiver] = []
        self.wakes = 0
        self.interpreted = 0
        self.pings_allowed = True
        #: How often the core asks before its owner's time is spent; 0: for ever.
        self.frames_at_a_time = 0
        self._asked = 0
        self.connection = Connection(
            limits or Limits(),
            self._interpret,
            self._opened,
            lambda: self.pings_allowed,
            self._wake,
            0.0,
            self._spent,
        )

    def _interpret(self, request: Request) -> Request:
        self.interpreted += 1
        return request

    def _opened(self, stream: Stream, request: Request, ended: bool) -> Receiver:
        receiver = Receiver(stream, request)
        receiver.ended = ended
        self.receivers.append(receiver)
        return receiver

    def _spent(self) -> bool:
        if not self.frames_at_a_time:
            return False
        self._asked += 1
        return self._asked % self.frames_at_a_time == 0

    def _wake(self) -> None:
        self.wakes += 1


@dataclass
class Frame:
    """A frame our end wrote."""

    kind: int
    flags: int
    stream: int
    payload: bytes


def frames_of(data: bytes) -> list[Frame]:
    found = []
    while data:
        size = int.from_bytes(data[:3], "big")
        stream = int.from_bytes(data[5:9], "big")
        found.append(Frame(data[3], data[4], stream, data[9 : 9 + size]))
        assert len(data) >= 9 + size, "half a frame was written"
        data = data[9 + size :]
    return found


class Pair(Served):
    """Our end and a client that has greeted it."""

    def __init__(self, limits: Limits | None = None, **settings: int) -> None:
        super().__init__(limits)
        self.client = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self.client.initiate_connection()
        if settings:
            self.client.update_settings({int(k[1:]): v for k, v in settings.items()})
        self.exchange()

    def exchange(self, now: float = 0.0) -> list[Event]:
        """Carry bytes both ways until both are silent; the client's events."""
        events: list[Event] = []
        while True:
            out = self.client.data_to_send()
            if out:
                self.connection.receive(out, now)
            back = self.connection.outbound.take()
            if back:
                events += self.client.receive_data(back)
            if not out and not back:
                return events

    def open(self, body: bytes | None = None, *, ended: bool = True, **headers: str) -> int:
        """Begin a request; its stream number."""
        number: int = self.client.get_next_available_stream_id()
        fields = HEADERS + [(k.replace("_", "-"), v) for k, v in headers.items()]
        self.client.send_headers(number, fields, end_stream=ended and body is None)
        if body is not None:
            self.client.send_data(number, body, end_stream=ended)
        return number


def named(events: list[Event], kind: type[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]
