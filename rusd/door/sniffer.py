"""One port for two protocols: the first bytes say whether a client speaks HTTP/2 or HTTP/1.1."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from rusd.door.channel import Channel
from rusd.door.h2 import PREFACE

if TYPE_CHECKING:
    from rusd.door.grpc_door import GrpcDoor

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

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._door.strangers[self] = None
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(PATIENCE, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        seen = self._seen = self._seen + data
        if seen.startswith(PREFACE):
            self._become(Channel(self._door))
        elif PREFACE.startswith(seen):
            return
        elif self._http is not None and seen.startswith(_REQUESTS):
            self._become(self._http())
        elif self._http is None or not any(one.startswith(seen) for one in _REQUESTS):
            self._transport.close()

    def _become(self, protocol: asyncio.Protocol) -> None:
        assert self._transport is not None
        self._forget()
        seen, self._seen = self._seen, b""
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(seen)

    def connection_lost(self, error: BaseException | None) -> None:
        self._forget()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _forget(self) -> None:
        self._door.strangers.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
