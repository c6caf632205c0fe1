"""One open gRPC stream: a bounded buffer between a service's callbacks and grpcio's coroutines."""

import asyncio
from collections import deque

from rusd.api.seam import StreamHandler
from rusd.errors import EtcdError

#: `ready` turns False above these, and True again at half of them.
HIGH_BYTES = 1 << 20
HIGH_MESSAGES = 256


class StreamOutlet:
    """The Outlet of one stream; `next` is awaited by the coroutine that writes to the wire."""

    def __init__(self) -> None:
        self._messages: deque[bytes] = deque()
        self._size = 0
        self._wake = asyncio.Event()
        self._finished = False
        self._full = False
        self._room = asyncio.Event()
        self._room.set()
        self.error: EtcdError | None = None
        #: Set once the service has opened the stream.
        self.handler: StreamHandler | None = None

    def send(self, message: bytes) -> None:
        if self._finished:
            return
        self._messages.append(message)
        self._size += len(message)
        if self._size > HIGH_BYTES or len(self._messages) > HIGH_MESSAGES:
            self._full = True
            self._room.clear()
        self._wake.set()

    def ready(self) -> bool:
        return not self._full

    def finish(self, error: EtcdError | None = None) -> None:
        if not self._finished:
            self._finished = True
            self.error = error
            self._wake.set()
            self._room.set()

    async def room(self) -> None:
        """Wait until `ready`, or until the stream is finished."""
        await self._room.wait()

    async def next(self) -> bytes | None:
        """The next message to write; None once the stream is finished and everything written."""
        while not self._messages:
            if self._finished:
                return None
            self._wake.clear()
            await self._wake.wait()
        message = self._messages.popleft()
        self._size -= len(message)
        drained = self._size <= HIGH_BYTES // 2 and len(self._messages) <= HIGH_MESSAGES // 2
        if self._full and drained:
            self._full = False
            self._room.set()
            if self.handler is not None and not self._finished:
                self.handler.drained()
        return message
