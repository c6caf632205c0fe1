"""Chooses the receiver of a request's stream by the request's headers.

CallHeaders ─┬─ refusal ─▶ answered at once
             ├─ a unary method ─▶ UnaryCall
             ├─ a streaming method ─▶ StreamCall
             └─ not gRPC ─▶ PageCall (`door/http/http2.py`)
"""

from typing import Protocol, cast

from rusd.door.grpc import status
from rusd.door.grpc.door_state import CallConnection
from rusd.door.grpc.request_headers import CallHeaderParser, CallHeaders
from rusd.door.grpc.streaming import StreamCall
from rusd.door.grpc.unary import UnaryCall
from rusd.door.h2 import Stream
from rusd.door.http.access import Origins
from rusd.door.http.body import BodyMemory
from rusd.door.http.http2 import PageCall, PageConnection, Serve
from rusd.door.ports import Receiver
from rusd.rpc.errors import Definition
from rusd.rpc.methods import CallCounts, Methods, Unary


class RequestConnection(CallConnection, PageConnection, Protocol):
    """The connection of a gRPC call or a page."""


class Refusal:
    """The receiver of a refused stream: drops its data."""

    __slots__ = ()

    def data(self, chunk: bytes, ended: bool) -> None:
        """Dropped."""

    def aborted(self) -> None:
        """Does nothing: the response was sent already."""

    def drained(self) -> None:
        """Does nothing: there is no queue."""


REFUSED = Refusal()


class Dispatcher:
    """Chooses the receiver of every request of one door."""

    def __init__(
        self,
        methods: Methods,
        pages: Serve | None,
        body_memory: BodyMemory,
        unknown_calls: CallCounts,
        origins: Origins,
    ) -> None:
        """`pages` answers requests that are not gRPC; without it they are refused.

        `body_memory` counts their bodies. `unknown_calls` counts calls of methods that the table
        does not hold. `origins`: whose web pages may call.
        """
        self.parse = CallHeaderParser(methods, origins, pages=pages is not None)
        self._pages = pages
        self._body_memory = body_memory
        self._unknown_calls = unknown_calls

    def receiver(
        self, connection: RequestConnection, stream: Stream, headers: CallHeaders, ended: bool
    ) -> Receiver:
        """Return the receiver of a new stream: a call, a page, or REFUSED after an error
        response.
        """
        method = headers.method
        if headers.refusal is not None:
            self._refuse(stream, headers)
            return REFUSED
        receiver: Receiver
        if isinstance(method, Unary):
            receiver = UnaryCall(connection, stream, headers, method)
        elif method is not None:
            receiver = StreamCall(connection, stream, headers, method)
        else:
            assert headers.page is not None and self._pages is not None
            receiver = PageCall(connection, stream, self._pages, headers.page, self._body_memory)
        if ended:
            receiver.data(b"", True)
        return receiver

    def _refuse(self, stream: Stream, headers: CallHeaders) -> None:
        error = cast(Definition, headers.refusal)
        counts = self._unknown_calls if headers.method is None else headers.method.counts
        counts.finish(error.code)
        if headers.status == 200:
            stream.end(status.trailers_only(error.code, error.message))
        else:
            stream.end(status.http_error(headers.status, error))
