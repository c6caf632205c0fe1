"""One port for two protocols: the first bytes say whether a client speaks HTTP/2 or HTTP/1.1.

What a connection needs is made in the time of the door's budget: thousands of new ones at once must
not stop the loop.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from rusd.door.grpc.connection import Channel
from rusd.door.h2 import PREFACE

if TYPE_CHECKING:
    from rusd.door.grpc.server import GrpcDoor

#: Seconds for the first bytes.
PATIENCE = 10.0

#: How an HTTP/1.1 request begins; what begins with anything else is closed, as etcd does.
_REQUESTS = tuple(
    f"{method} ".encode()
    for method in ("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT")
)

#: Makes the protocol of an HTTP/1.1 connection.
Http = Callable[[], asyncio.Protocol]


class Sniffer(asyncio.Protocol):
    """A connection of which nothing is known yet."""

    def __init__(self, door: "GrpcDoor", http: Http | None) -> None:
        """`http` None: HTTP/1.1 is not served here."""
        self._door = door
        self._http = http
        self._seen = b""
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        #: As a worker of the budget.
        self.used = 0.0
        self.waiting = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._door.strangers[self] = None
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(PATIENCE, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        if not self._seen:
            self.used = self._door.budget.enter()
        self._seen += data
        self._door.budget.run(self)
        if self.waiting:
            self._transport.pause_reading()

    def work(self) -> bool:
        """See `rusd/door/time_budget.py`."""
        transport, seen = self._transport, self._seen
        if transport is None or transport.is_closing():
            return False
        if seen.startswith(PREFACE):
            self._become(transport, Channel(self._door, self.used))
        elif PREFACE.startswith(seen):
            transport.resume_reading()
        elif self._http is not None and seen.startswith(_REQUESTS):
            self._become(transport, self._http())
        elif self._http is None or not any(one.startswith(seen) for one in _REQUESTS):
            transport.close()
        else:
            transport.resume_reading()
        return False

    def _become(self, transport: asyncio.Transport, protocol: asyncio.Protocol) -> None:
        self._forget()
        seen, self._seen, self._transport = self._seen, b"", None
        transport.resume_reading()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(seen)

    def connection_lost(self, error: BaseException | None) -> None:
        self._transport = None
        self._forget()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _forget(self) -> None:
        self._door.strangers.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
