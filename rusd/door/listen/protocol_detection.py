"""Detects the protocol of a connection, HTTP/2 or HTTP/1.1, from its first bytes.

    accepted ─▶ ProtocolDetector ─┬─ the HTTP/2 preface ─▶ the gRPC connection
                                  ├─ a request line ─▶ the HTTP/1.1 connection
                                  └─ anything else, or nothing in time ─▶ closed

The protocol object is made in the time of the time budget: thousands of new connections at once
must not stop the loop.
"""

import asyncio
import re
from collections.abc import Callable
from typing import cast

from rusd.door import closings
from rusd.door.caller import caller_of
from rusd.door.h2 import PREFACE
from rusd.door.lateness import Timeout
from rusd.door.time_budget import TimeBudget

#: Seconds for the first bytes.
FIRST_BYTES_SECONDS = 10.0

#: Bytes of a request line with a method that is not known. As in etcd, other bytes than a request
#: line are not answered.
LINE = 4096
_LINE = re.compile(rb"[!-~]+ [^ \r\n]+ HTTP/1\.[0-9]\r?\n")
_TOKEN = re.compile(rb"[!-~]+(?: [^\r\n]*)?\r?")
#: How nearly all requests begin: the rest of the line need not be waited for.
_REQUESTS = tuple(
    f"{method} ".encode()
    for method in ("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT")
)

#: Makes the protocol of an HTTP/1.1 connection.
MakeProtocol = Callable[[], asyncio.Protocol]
#: Makes the protocol of an HTTP/2 connection; its argument is its charge in the time budget.
MakeHttp2 = Callable[[float], asyncio.Protocol]


class ProtocolDetector(asyncio.Protocol):
    """A connection with an unknown protocol; a worker of the time budget."""

    def __init__(
        self,
        budget: TimeBudget,
        unidentified: "dict[ProtocolDetector, None]",
        http2: MakeHttp2,
        http1: MakeProtocol | None,
    ) -> None:
        """`unidentified`: those of the door, which this one joins and leaves.

        `http1` None: HTTP/1.1 is not served.
        """
        self._budget = budget
        self._unidentified = unidentified
        self._http2 = http2
        self._http1 = http1
        self._seen = b""
        self._transport: asyncio.Transport | None = None
        self._timer: Timeout | None = None
        #: As a worker of the time budget.
        self.used = 0.0
        self.waiting = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._unidentified[self] = None
        # (First bytes may wait for this member: in its queue, or in that of the kernel.)
        self._timer = Timeout(FIRST_BYTES_SECONDS, self._timed_out, lambda: self.waiting)

    def _timed_out(self) -> None:
        self._abort(closings.NO_FIRST_BYTES)

    def _abort(self, reason: str) -> None:
        if self._transport is not None:
            closings.log_usual(caller_of(self._transport).address, reason)
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        if not self._seen:
            self.used = self._budget.enter()
        self._seen += data
        self._budget.run(self)
        if self.waiting:
            self._transport.pause_reading()

    def work(self) -> bool:
        """See `Worker` (`rusd/door/ports.py`)."""
        transport, seen = self._transport, self._seen
        if transport is None or transport.is_closing():
            return False
        if seen.startswith(PREFACE):
            self._replace(transport, self._http2(self.used))
        elif PREFACE.startswith(seen):
            transport.resume_reading()
        elif self._http1 is not None and (seen.startswith(_REQUESTS) or _LINE.match(seen)):
            self._replace(transport, self._http1())
        elif self._http1 is None or len(seen) > LINE or not _TOKEN.fullmatch(seen):
            closings.log_usual(caller_of(transport).address, "neither HTTP/2 nor HTTP/1.1")
            transport.close()
        else:
            transport.resume_reading()
        return False

    def _replace(self, transport: asyncio.Transport, protocol: asyncio.Protocol) -> None:
        """Hand the connection and the bytes read so far to its protocol."""
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
        self._abort("server stopped")

    def _forget(self) -> None:
        self._unidentified.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None  # (it refers to this)
