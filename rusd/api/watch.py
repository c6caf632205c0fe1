"""etcdserverpb.Watch: one bidirectional stream that carries many watchers.

The watchers are those of `rusd.watch`; this file dispatches requests and checks permission. A
stream ends when the client cancels it or the member stops: a client that closes only its sending
side goes on receiving events, as from etcd (a watch through the JSON gateway depends on it).
"""

from collections.abc import Callable

from rusd.proto import rpc_pb2 as rpc
from rusd.rpc.call import Call
from rusd.rpc.errors import COMPACTED, EtcdError
from rusd.rpc.methods import BidiStream, Methods
from rusd.rpc.streams import ResponseStream
from rusd.watch.hub import WatchHub

#: Raises an EtcdError unless the caller may read the range: (call, key, range_end as requested).
Permit = Callable[[Call, bytes, bytes], None]


class WatchService:
    """etcdserverpb.Watch."""

    def __init__(self, hub: WatchHub, permit: Permit | None = None) -> None:
        self._hub = hub
        self._permit = permit

    def methods(self) -> Methods:
        """gRPC path -> method."""
        return {"/etcdserverpb.Watch/Watch": BidiStream(rpc.WatchRequest, self.open)}

    def open(self, call: Call, responses: ResponseStream) -> "WatchHandler":
        """Opens a stream."""
        return WatchHandler(self._hub, self._permit, call, responses)


class WatchHandler:
    """One open stream (a `StreamHandler`)."""

    def __init__(
        self,
        hub: WatchHub,
        permit: Permit | None,
        call: Call,
        responses: ResponseStream,
    ) -> None:
        self._stream = hub.stream(responses)
        self._permit = permit
        self._call = call

    def received(self, request: rpc.WatchRequest) -> None:
        """Handles one request; an empty one is ignored, as in etcd."""
        kind = request.WhichOneof("request_union")
        if kind == "create_request":
            self._create(request.create_request)
        elif kind == "cancel_request":
            self._stream.cancel(request.cancel_request.watch_id)
        elif kind == "progress_request":
            self._stream.progress()

    def half_closed(self) -> None:
        """The client sends no more requests; its watchers go on."""

    def drained(self) -> None:
        """The response stream takes messages again."""
        self._stream.drained()

    def closed(self) -> None:
        """The stream is over."""
        self._stream.close()

    def _create(self, request: rpc.WatchCreateRequest) -> None:
        if request.start_revision < 0:
            self._stream.refuse(COMPACTED.message)
            return
        if self._permit is not None:
            try:
                self._permit(self._call, request.key or b"\0", request.range_end)
            except EtcdError as error:
                self._stream.refuse(_status_text(error))
                return
        self._stream.create(request)


def _status_text(error: EtcdError) -> str:
    """Returns a gRPC status as Go prints it, as in etcd's cancel_reason."""
    code = "".join(word.capitalize() for word in error.code.name.split("_"))
    return f"rpc error: code = {code} desc = {error.message}"
