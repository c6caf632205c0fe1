"""Raw clients of pages: one interface over HTTP/1.1 and HTTP/2, independent of the door's code."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

import h2.config
import h2.connection
import h2.events


class HttpClient(Protocol):
    """One request on one connection."""

    status: int
    headers: dict[str, str]

    async def send(self, method: str, path: str, length: int | None, **headers: str) -> None:
        """Send the head; `length` None: the body's length is not announced."""

    async def body(self, chunk: bytes, end: bool = False) -> None: ...
    async def response(self) -> None:
        """Wait for the head of the response."""

    async def read(self) -> bytes:
        """Some bytes of the body; b"" at its end. ConnectionError if it is incomplete."""

    def close(self) -> None: ...


class Http1:
    """HTTP/1.1 with asyncio's streams."""

    def __init__(self, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        self._reader, self._writer = streams
        self.status = 0
        self.headers: dict[str, str] = {}
        self._chunked = False
        self._left = 0

    async def send(self, method: str, path: str, length: int | None, **headers: str) -> None:
        self._method = method
        fields = {"host": "x", **headers}
        self._chunked = length is None
        fields |= {"transfer-encoding": "chunked"} if length is None else {}
        fields |= {"content-length": str(length)} if length else {}
        lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items())]
        self._writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        await self._writer.drain()

    async def body(self, chunk: bytes, end: bool = False) -> None:
        framed = b"%x\r\n%b\r\n" % (len(chunk), chunk) if self._chunked and chunk else chunk
        self._writer.write(framed + (b"0\r\n\r\n" if self._chunked and end else b""))
        await self._writer.drain()

    async def response(self) -> None:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        self.status = int(head[0].split()[1])
        self.headers = {
            name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:-2])
        }
        self._left = int(self.headers.get("content-length", "0"))
        if self._method == "HEAD":
            self._left = 0

    async def read(self) -> bytes:
        if self.headers.get("transfer-encoding") == "chunked" and self._method != "HEAD":
            try:
                size = int(await self._reader.readuntil(b"\r\n"), 16)
                return (await self._reader.readexactly(size + 2))[:-2]
            except asyncio.IncompleteReadError:
                raise ConnectionResetError from None
        chunk = await self._reader.read(self._left)
        self._left -= len(chunk)
        return chunk

    def close(self) -> None:
        self._writer.transport.abort()


class Http2:
    """HTTP/2 with the `h2` library; one stream at a time, window updates as bytes are read."""

    def __init__(self, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        self._reader, self._writer = streams
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self._h2.initiate_connection()
        self.status = 0
        self.headers: dict[str, str] = {}
        self._events: list[Any] = []
        self._stream = 0

    async def send(self, method: str, path: str, length: int | None, **headers: str) -> None:
        self._stream = self._h2.get_next_available_stream_id()
        fields = {":method": method, ":scheme": "http", ":authority": "x", ":path": path, **headers}
        fields |= {"content-length": str(length)} if length else {}
        self._h2.send_headers(self._stream, list(fields.items()), end_stream=length == 0)
        await self._flush()

    async def _flush(self) -> None:
        self._writer.write(self._h2.data_to_send())
        await self._writer.drain()

    async def body(self, chunk: bytes, end: bool = False) -> None:
        while chunk:
            window = self._h2.local_flow_control_window(self._stream)
            if not window:
                await self._receive()
                self._check_reset(self._events)
                continue
            size = min(window, self._h2.max_outbound_frame_size)
            self._h2.send_data(self._stream, chunk[:size])
            chunk = chunk[size:]
            await self._flush()
        if end:
            self._h2.end_stream(self._stream)
            await self._flush()

    async def _receive(self) -> None:
        data = await self._reader.read(65536)
        if not data:
            raise ConnectionResetError
        self._events += self._h2.receive_data(data)
        await self._flush()

    def _check_reset(self, events: list[Any]) -> None:
        for event in events:
            if isinstance(event, h2.events.StreamReset) and event.error_code:
                raise ConnectionResetError

    async def _next(self, *kinds: type) -> Any:
        while True:
            for event in self._events:
                if isinstance(event, kinds):
                    self._events.remove(event)
                    return event
                # (What came before a reset may have come with it.)
                self._check_reset([event])
            await self._receive()

    async def response(self) -> None:
        event = await self._next(h2.events.ResponseReceived)
        fields = {_text(name): _text(value) for name, value in event.headers}
        self.status = int(fields.pop(":status"))
        self.headers = fields

    async def read(self) -> bytes:
        event = await self._next(h2.events.DataReceived, h2.events.StreamEnded)
        if isinstance(event, h2.events.StreamEnded):
            return b""
        if event.flow_controlled_length:
            self._h2.acknowledge_received_data(event.flow_controlled_length, self._stream)
            await self._flush()
        return bytes(event.data) or await self.read()

    def close(self) -> None:
        self._writer.transport.abort()


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
