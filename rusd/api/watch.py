"""etcdserverpb.Watch: one bidirectional stream that carries many watchers.

The watchers are those of `rusd.watch`; this file dispatches requests and checks permission. A
stream ends when the client cancels it or the member stops: a client that closes only its sending
side goes on receiving events, as from etcd (a watch through the JSON gateway depends on it).

The caller is identified for every create request, and must be permitted to read the range; a
refusal cancels that watcher alone, with etcd's texts. When users, roles or permissions change,
watchers whose user may not read their range any more are canceled (etcd lets them go on).
"""

from collections import deque
from collections.abc import Callable, Generator

from rusd.auth.errors import AuthError
from rusd.auth.records import Identity
from rusd.auth.store import AuthStore
from rusd.base.errors import Refusal
from rusd.base.pending import Pending
from rusd.proto import rpc_pb2 as rpc
from rusd.rpc.authentication import Authenticator
from rusd.rpc.call import Call
from rusd.rpc.errors import (
    AUTH_OLD_REVISION,
    COMPACTED,
    INVALID_AUTH_TOKEN,
    PERMISSION_DENIED,
    TOO_MANY_REQUESTS,
    USER_EMPTY,
    Definition,
    as_etcd,
)
from rusd.rpc.methods import BidiStream, Methods
from rusd.rpc.streams import ResponseStream
from rusd.watch.hub import WatchHub

#: Watchers checked again in one slice after a change of users or roles.
WATCHERS_PER_SLICE = 1000
#: Requests of one stream that may wait while its caller is identified, and their bytes; the stream
#: of a client that sends more is ended.
MAX_WAITING_REQUESTS, MAX_WAITING_BYTES = 10_000, 4 << 20


#: (request, its call, why it is refused)
Denied = Callable[[rpc.WatchCreateRequest, Call, Refusal], None]


class WatchService:
    """etcdserverpb.Watch."""

    def __init__(
        self,
        hub: WatchHub,
        authenticator: Authenticator,
        auth: AuthStore,
        denied: Denied = lambda request, call, error: None,
    ) -> None:
        """`denied` is called for each watcher that is refused for want of a permission."""
        self._hub = hub
        self.denied = denied
        self._authenticator = authenticator
        self._auth = auth
        self._open: dict[WatchHandler, None] = {}

    def methods(self) -> Methods:
        """gRPC path -> method."""
        return {"/etcdserverpb.Watch/Watch": BidiStream(rpc.WatchRequest, self.open)}

    def open(self, call: Call, responses: ResponseStream) -> "WatchHandler":
        """Opens a stream."""
        handler = WatchHandler(self, self._hub, self._authenticator, self._auth, call, responses)
        self._open[handler] = None
        return handler

    def closed(self, handler: "WatchHandler") -> None:
        """Forget a stream that has ended."""
        self._open.pop(handler, None)

    def recheck(self) -> Generator[None, None, None]:
        """Cancel, in slices, the watchers that have lost their permission."""
        checked = 0
        for handler in list(self._open):
            for watch_id in handler.watch_ids():
                handler.recheck(watch_id)
                checked += 1
                if checked % WATCHERS_PER_SLICE == 0:
                    yield


class WatchHandler:
    """One open stream (a `StreamHandler`)."""

    def __init__(
        self,
        service: WatchService,
        hub: WatchHub,
        authenticator: Authenticator,
        auth: AuthStore,
        call: Call,
        responses: ResponseStream,
    ) -> None:
        self._service = service
        self._stream = hub.stream(responses)
        self._authenticator = authenticator
        self._auth = auth
        self._call = call
        #: User that created the stream's watchers last; "" while authentication was off.
        self._user = ""
        #: Requests behind a create request whose caller is being identified; None: nothing waits.
        self._waiting: deque[rpc.WatchRequest] | None = None
        self._waiting_bytes = 0
        self._closed = False
        self._responses = responses

    def received(self, request: rpc.WatchRequest) -> None:
        """Handles one request; an empty one is ignored, as in etcd."""
        if self._waiting is not None:
            self._wait(self._waiting, request)
            return
        kind = request.WhichOneof("request_union")
        if kind == "create_request":
            self._create(request.create_request)
        elif kind == "cancel_request":
            self._stream.cancel(request.cancel_request.watch_id)
        elif kind == "progress_request":
            self._stream.progress()

    def _wait(self, waiting: deque[rpc.WatchRequest], request: rpc.WatchRequest) -> None:
        self._waiting_bytes += request.ByteSize()
        if len(waiting) >= MAX_WAITING_REQUESTS or self._waiting_bytes > MAX_WAITING_BYTES:
            waiting.clear()
            self._responses.finish(TOO_MANY_REQUESTS())
        else:
            waiting.append(request)

    def half_closed(self) -> None:
        """The client sends no more requests; its watchers go on."""

    def drained(self) -> None:
        """The response stream takes messages again."""
        self._stream.drained()

    def closed(self) -> None:
        """The stream has ended."""
        self._closed = True
        self._waiting = None
        self._service.closed(self)
        self._stream.close()

    # Permission

    def _create(self, request: rpc.WatchCreateRequest) -> None:
        if request.start_revision < 0:
            self._stream.refuse(COMPACTED.message)
        elif not self._authenticator.enabled:
            self._stream.create(request)
        else:
            self._create_identified(request)

    def _create_identified(self, request: rpc.WatchCreateRequest) -> None:
        try:
            found = self._authenticator.identify(self._call)
        except AuthError as error:
            self._refuse(request, error)
            return
        if isinstance(found, Identity):
            self._permit(request, found)
            return
        self._waiting = deque()
        found.add_done_callback(lambda identity: self._identified(request, identity))

    def _identified(self, request: rpc.WatchCreateRequest, identity: Pending[Identity]) -> None:
        if self._closed:
            return
        try:
            self._permit(request, identity.result())
        except Refusal as error:
            self._refuse(request, error)
        waiting, self._waiting = self._waiting or deque(), None
        self._waiting_bytes = 0
        for each in waiting:
            self.received(each)

    def _permit(self, request: rpc.WatchCreateRequest, identity: Identity) -> None:
        self._call.identity = identity
        try:
            self._auth.check_read(identity, request.key or b"\0", request.range_end)
        except AuthError as error:
            self._refuse(request, error)
        else:
            self._user = identity.user
            self._stream.create(request)

    def _refuse(self, request: rpc.WatchCreateRequest, error: Refusal) -> None:
        self._service.denied(request, self._call, error)
        self._stream.refuse(_cancel_reason(error))

    def watch_ids(self) -> list[int]:
        """Ids of the open watchers."""
        return list(self._stream.state.watchers)

    def recheck(self, watch_id: int) -> None:
        """Cancel a watcher whose user has lost the permission to read its range."""
        watcher = self._stream.state.watchers.get(watch_id)
        if watcher is None:
            return
        key, end, *_ = watcher.group.subscription
        if not self._auth.may_read(self._user, key, b"\0" if end is None else end):
            self._stream.cancel(watch_id, _status_text(PERMISSION_DENIED))


def _cancel_reason(error: Refusal) -> str:
    """Return etcd's cancel_reason for a refusal: its text for these, else permission denied."""
    told = as_etcd(error)
    named = (INVALID_AUTH_TOKEN, AUTH_OLD_REVISION, USER_EMPTY, PERMISSION_DENIED)
    for definition in named:
        if told is not None and told.message == definition.message:
            return _status_text(definition)
    return _status_text(PERMISSION_DENIED)


def _status_text(error: Definition) -> str:
    """Returns a gRPC status as Go prints it, as in etcd's cancel_reason."""
    code = "".join(word.capitalize() for word in error.code.name.split("_"))
    return f"rpc error: code = {code} desc = {error.message}"
