"""Members that lie, and strangers: what a test sends to a member's peer port."""

import asyncio
import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from rusd.base.logs import JsonFormatter
from rusd.raft.transport.dial_back import CONFIRMED
from rusd.raft.transport.frames import PROTOCOL, decode
from tests.support.frames import raw

NONCE = bytes(range(16))


def hello(**changes: Any) -> bytes:
    """Member 2's first frame to another."""
    fields = {"type": "hello", "protocol": PROTOCOL, "cluster": 77, "member": 2, "nonce": NONCE}
    return raw({name: value for name, value in (fields | changes).items() if value is not None})


async def said(port: int, data: bytes, within: float = 10.0) -> bytes:
    """Send `data` to a peer port; return its answer until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(within):
            writer.write(data)
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


class Rogue:
    """Has taken a member's address, and so gets past the handshake as that member."""

    def __init__(self, port: int, target: int, *, greeting: bytes | None = None) -> None:
        """`port`: the address taken; `target`: the port of the member attacked."""
        self._port = port
        self._target = target
        self._greeting = hello() if greeting is None else greeting
        self.first: list[dict[str, Any]] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._asked, "127.0.0.1", self._port)
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._target)
        self.writer.write(self._greeting)
        async with asyncio.timeout(10):
            self.answer = decode(
                await self.reader.readexactly(
                    int.from_bytes(await self.reader.readexactly(4), "big")
                ),
                member=False,
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.writer.close()
        self._server.close()

    async def _asked(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CONFIRMED)
        writer.close()

    def send(self, *frames: dict[str, Any]) -> None:
        for frame in frames:
            self.writer.write(raw(frame))

    async def until_ended(self) -> None:
        """Read until the member ends the connection."""
        try:
            async with asyncio.timeout(10):
                while await self.reader.read(65536):
                    pass
        except ConnectionResetError:
            pass


@contextmanager
def logged() -> Iterator[io.StringIO]:
    """Capture the log, formatted as a member writes it."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield text
    finally:
        root.removeHandler(handler)
