"""A small gRPC client over HTTP/2 for what h2load cannot do: streams, paced calls, many keys.

It does the least a client may do, so that the server is what is measured: header blocks are sent as
constant bytes and never decoded when they arrive, messages go in and out as bytes, and windows are
so large that the server never waits for this client. A call without any data in its answer was
refused; what the refusal said is not read.

Data passes: `open` and `message` queue frames; `Poll.frames` sends what the windows allow, reads
what has come and hands out the frames that concern a stream.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 0x1, 0x4, 0x1
INITIAL_WINDOW_SIZE = 4

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
LARGEST_WINDOW = (1 << 31) - 1
#: What every window is before anyone says otherwise (RFC 9113, 6.9.2), and the largest frame.
DEFAULT_WINDOW = 65_535
LARGEST_FRAME = 16_384
#: Bytes received after which the connection's window is given back.
GIVE_BACK = 1 << 29


class WireError(ConnectionError):
    """The server closed the connection or a stream."""


class Frame(NamedTuple):
    """A frame of a stream: DATA, HEADERS or RST_STREAM."""

    kind: int
    flags: int
    stream: int
    payload: bytes


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload) << 8 | kind) + struct.pack(">BI", flags, stream) + payload


def headers(path: str, authority: str) -> bytes:
    """A header block of literals that no table remembers: every one stands for itself."""

    def text(value: str) -> bytes:
        return bytes([len(value)]) + value.encode()

    return (
        b"\x83\x86"  # :method POST, :scheme http
        + (b"\x04" + text(path))
        + (b"\x01" + text(authority))
        + (b"\x0f\x10" + text("application/grpc"))  # content-type
        + (b"\x00" + text("te") + text("trailers"))
    )


class Connection:
    """One HTTP/2 connection; see `Poll` for reading."""

    def __init__(self, endpoint: str) -> None:
        """`endpoint`: "127.0.0.1:2379"."""
        host, port = endpoint.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self._authority = endpoint
        self._blocks: dict[str, bytes] = {}
        self._next_stream = 1
        self._received = bytearray()
        self._consumed = 0
        self._out = bytearray(
            PREFACE
            + frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, LARGEST_WINDOW))
            + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", LARGEST_WINDOW - DEFAULT_WINDOW))
        )
        #: Payloads that wait for the server's windows: stream, bytes, whether the stream ends.
        self._waiting: deque[tuple[int, bytes, bool]] = deque()
        self._window = DEFAULT_WINDOW
        self._initial = DEFAULT_WINDOW
        self._stream_windows: dict[int, int] = {}

    def close(self) -> None:
        self.socket.close()

    def open(self, path: str) -> int:
        """Open a stream; its number."""
        block = self._blocks.get(path)
        if block is None:
            block = self._blocks[path] = headers(path, self._authority)
        stream = self._next_stream
        self._next_stream += 2
        self._stream_windows[stream] = self._initial
        self._out += frame(HEADERS, END_HEADERS, stream, block)
        return stream

    def message(self, stream: int, message: bytes, last: bool = False) -> None:
        """Queue one message; `last` ends our side of the stream."""
        self._waiting.append((stream, struct.pack(">BI", 0, len(message)) + message, last))

    def call(self, path: str, message: bytes) -> int:
        """A unary call; the number of its stream."""
        stream = self.open(path)
        self.message(stream, message, last=True)
        return stream

    def flush(self) -> bool:
        """Send what windows and socket take; True if the socket could not take all."""
        while self._waiting:
            stream, payload, last = self._waiting[0]
            room = min(LARGEST_FRAME, self._window, self._stream_windows[stream])
            if room <= 0:
                break
            part = payload[:room]
            whole = len(part) == len(payload)
            self._out += frame(DATA, END_STREAM if last and whole else 0, stream, part)
            self._window -= len(part)
            self._stream_windows[stream] -= len(part)
            if not whole:
                self._waiting[0] = (stream, payload[room:], last)
                continue
            self._waiting.popleft()
            if last:
                del self._stream_windows[stream]
        if self._out:
            with contextlib.suppress(BlockingIOError):
                del self._out[: self.socket.send(self._out)]
        return bool(self._out)

    def read(self) -> list[Frame]:
        """Frames of streams that have come; control frames are answered on the way."""
        try:
            chunk = self.socket.recv(1 << 18)
        except BlockingIOError:
            return []
        if not chunk:
            raise WireError("the server closed the connection")
        data = bytes(self._received) + chunk if self._received else chunk
        found: list[Frame] = []
        at, end = 0, len(data)
        while end - at >= 9:
            first, flags, stream = struct.unpack_from(">IBI", data, at)
            stop = at + 9 + (first >> 8)
            if stop > end:
                break
            kind = first & 0xFF
            payload = data[at + 9 : stop]
            at = stop
            if kind == DATA:
                self._consumed += len(payload)
                found.append(Frame(kind, flags, stream, payload))
            elif stream and kind in (HEADERS, RST_STREAM):
                found.append(Frame(kind, flags, stream, payload))
            else:
                self._control(kind, flags, stream, payload)
        self._received = bytearray(data[at:])
        if self._consumed > GIVE_BACK:
            self._out += frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", self._consumed))
            self._consumed = 0
        return found

    def _control(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == WINDOW_UPDATE:
            more = struct.unpack(">I", payload)[0]
            if stream == 0:
                self._window += more
            elif stream in self._stream_windows:
                self._stream_windows[stream] += more
        elif kind == SETTINGS and not flags & ACK:
            for at in range(0, len(payload), 6):
                name, value = struct.unpack_from(">HI", payload, at)
                if name == INITIAL_WINDOW_SIZE:
                    change = value - self._initial
                    self._initial = value
                    for one in self._stream_windows:
                        self._stream_windows[one] += change
            self._out += frame(SETTINGS, ACK, 0)
        elif kind == PING and not flags & ACK:
            self._out += frame(PING, ACK, 0, payload)
        elif kind == GOAWAY:
            raise WireError(f"the server says goodbye: {payload[8:].decode(errors='replace')}")


class Poll:
    """Several connections driven together, all of one thread."""

    def __init__(self, connections: list[Connection]) -> None:
        self._selector = selectors.DefaultSelector()
        self._full: dict[Connection, bool] = {}
        for connection in connections:
            self._selector.register(connection.socket, selectors.EVENT_READ, connection)
            self._full[connection] = False
        #: Connections that others than `frames` have queued on.
        self._connections = connections

    def close(self) -> None:
        self._selector.close()
        for connection in self._connections:
            connection.close()

    def flush(self) -> None:
        """Send what was queued on any connection."""
        for connection in self._connections:
            self._flush(connection)

    def frames(self, timeout: float | None) -> Iterator[tuple[Connection, list[Frame]]]:
        """Wait up to `timeout` seconds for anything to come; then all that has come.

        Raises WireError when a server hangs up.
        """
        for key, events in self._selector.select(timeout):
            connection: Connection = key.data
            if events & selectors.EVENT_READ:
                yield connection, connection.read()
            self._flush(connection)

    def _flush(self, connection: Connection) -> None:
        full = connection.flush()
        if full != self._full[connection]:
            self._full[connection] = full
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if full else 0)
            self._selector.modify(connection.socket, events, connection)
