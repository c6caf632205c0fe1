"""grpc.health.v1.Health, for the server as a whole (the empty service name)."""

from rusd.proto import health_pb2 as health
from rusd.rpc.call import Call
from rusd.rpc.errors import Code, Definition
from rusd.rpc.methods import Methods, ServerStream, Unary
from rusd.rpc.responses import Response
from rusd.rpc.streams import ResponseStream, StreamHandler

_UNKNOWN = Definition(Code.NOT_FOUND, "unknown service")
_Response = health.HealthCheckResponse


class HealthService:
    """Reports SERVING until `drain`."""

    def __init__(self) -> None:
        self._serving = True
        self._watchers: set[_Watcher] = set()

    def methods(self) -> Methods:
        """gRPC path -> method."""
        request = health.HealthCheckRequest
        return {
            "/grpc.health.v1.Health/Check": Unary(request, self.check),
            "/grpc.health.v1.Health/List": Unary(health.HealthListRequest, self.list),
            "/grpc.health.v1.Health/Watch": ServerStream(request, self.watch),
        }

    def drain(self) -> None:
        """Report NOT_SERVING: the member is about to stop."""
        self._serving = False
        for watcher in self._watchers:
            watcher.responses.send(self._status())

    def _status(self) -> bytes:
        return self._current().SerializeToString()

    def _current(self) -> health.HealthCheckResponse:
        return _Response(status=_Response.SERVING if self._serving else _Response.NOT_SERVING)

    def check(self, request: health.HealthCheckRequest, call: Call) -> Response:
        """Raises NOT_FOUND for every service name but the empty one."""
        if request.service:
            raise _UNKNOWN()
        return self._status()

    def list(self, request: health.HealthListRequest, call: Call) -> Response:
        """The status of every service that has one: the empty name."""
        statuses = {"": self._current()}
        return health.HealthListResponse(statuses=statuses).SerializeToString()

    def watch(
        self, request: health.HealthCheckRequest, call: Call, responses: ResponseStream
    ) -> StreamHandler:
        """Streams the status, now and at each change."""
        watcher = _Watcher(self._watchers, responses)
        if request.service:
            responses.send(_Response(status=_Response.SERVICE_UNKNOWN).SerializeToString())
        else:
            self._watchers.add(watcher)
            responses.send(self._status())
        return watcher


class _Watcher:
    """One open stream (a `StreamHandler`)."""

    def __init__(self, watchers: "set[_Watcher]", responses: ResponseStream) -> None:
        self._watchers = watchers
        self.responses = responses

    def received(self, request: object) -> None:
        """Not called for server streams."""

    def half_closed(self) -> None:
        """The stream goes on until the client cancels it."""

    def drained(self) -> None:
        """At most two messages are sent: the buffer never fills."""

    def closed(self) -> None:
        self._watchers.discard(self)
