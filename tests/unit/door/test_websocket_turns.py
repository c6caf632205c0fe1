"""However many frames of a WebSocket have arrived, others have their turns between them."""

import asyncio
from typing import Any, cast

import pytest
from aiohttp import WSMessage, WSMsgType

from rusd.door.http.websocket import FRAMES, _MessageBody

CLOSE = WSMessage(WSMsgType.CLOSE, None, None)


class Socket:
    """Frames that have all arrived: none of them is waited for."""

    def __init__(self, message: WSMessage, count: int) -> None:
        self._message = message
        self._left = count

    async def receive(self) -> WSMessage:
        self._left -= 1
        return self._message if self._left >= 0 else CLOSE

    async def pong(self, data: bytes) -> None:
        """Not waited for either."""


@pytest.mark.parametrize(
    "message",
    [
        WSMessage(WSMsgType.TEXT, "", None),
        WSMessage(WSMsgType.TEXT, " ", None),
        WSMessage(WSMsgType.BINARY, b"", None),
        WSMessage(WSMsgType.PING, b"", None),
        WSMessage(WSMsgType.PONG, b"", None),
    ],
)
def test_frames_without_a_request_do_not_hold_the_loop(message: WSMessage) -> None:
    count = 50 * FRAMES

    async def body() -> None:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        task = asyncio.ensure_future(others())
        async for chunk in _MessageBody(cast(Any, Socket(message, count)), None, 1000).chunks():
            assert not chunk.strip()
        task.cancel()
        assert turns >= count // FRAMES - 2

    asyncio.run(body())
