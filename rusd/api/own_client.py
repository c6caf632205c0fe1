"""The member as a client of its own services: for services that are made of KV, Lease and Watch.

Inner calls are made in the name of the caller of the outer one, and pass the checks that every
client's pass: quota, validation, authentication. As in etcd, a refusal of an inner call reaches
the client with its text and the status UNKNOWN.

What a call has to take back when it fails or is cancelled (`after_failure`) is done by tasks of
its own, since the call is over by then, and with the identity that the caller had: its token may
have ended meanwhile. Permissions are checked again when that is applied.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

from google.protobuf.message import Message

from rusd.auth.records import Identity
from rusd.auth.store import AuthStore
from rusd.base.chunks import Chunks, Encoded, whole
from rusd.base.errors import Refusal
from rusd.base.logs import get_logger
from rusd.base.supervised import Fail, Tasks
from rusd.proto import rpc_pb2 as rpc
from rusd.rpc.call import Call
from rusd.rpc.errors import LOST_WATCHER, Code, EtcdError, as_etcd
from rusd.rpc.methods import BidiStream, Methods, Unary

log = get_logger(__name__)

Answer = TypeVar("Answer", bound=Message)

#: Bytes of responses of one watch that wait to be read; one response may exceed them. With more,
#: the watcher falls behind and reads history later.
UNREAD_BYTES = 64 << 10


class OwnServices:
    """The services of one member, as its own clients use them."""

    def __init__(self, checked: Methods, unchecked: Methods, auth: AuthStore, fail: Fail) -> None:
        """KV, Lease and Watch: `checked` behind the guards, and `unchecked`. `fail` gets the
        exception of a background task, which ends the member.
        """
        self._checked = checked
        self._unchecked = unchecked
        self._auth = auth
        self._tasks = Tasks(fail)

    def client(self, call: Call) -> "OwnClient":
        """Return a client with the identity of the caller of `call`."""
        return OwnClient(self, self._checked, replace(call, raw=b""))

    def identified(self, call: Call) -> "OwnClient":
        """Return a client with the identity recorded in `call`, even if its token has ended
        since.
        """
        identity = call.identity
        if identity.revision:
            identity = Identity(identity.user, self._auth.revision)
        return OwnClient(self, self._unchecked, replace(call, identity=identity))

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` to its end, even if the call that started it is cancelled."""
        self._tasks.start("take back what a call did", _logged(work))


class OwnClient:
    """Calls that one call makes to the member's own services."""

    def __init__(self, services: OwnServices, methods: Methods, call: Call) -> None:
        self._services = services
        self._methods = methods
        #: The guards put the identity of the caller into it.
        self._call = call

    async def range(self, request: rpc.RangeRequest) -> rpc.RangeResponse:
        return await self._unary("KV/Range", request, rpc.RangeResponse)

    async def delete_range(self, request: rpc.DeleteRangeRequest) -> rpc.DeleteRangeResponse:
        return await self._unary("KV/DeleteRange", request, rpc.DeleteRangeResponse)

    async def txn(self, request: rpc.TxnRequest) -> rpc.TxnResponse:
        return await self._unary("KV/Txn", request, rpc.TxnResponse)

    async def grant(self, request: rpc.LeaseGrantRequest) -> rpc.LeaseGrantResponse:
        return await self._unary("Lease/LeaseGrant", request, rpc.LeaseGrantResponse)

    async def revoke(self, request: rpc.LeaseRevokeRequest) -> rpc.LeaseRevokeResponse:
        return await self._unary("Lease/LeaseRevoke", request, rpc.LeaseRevokeResponse)

    def watch(self, request: rpc.WatchCreateRequest) -> "OwnWatch":
        """Open a watch; the caller must close it."""
        method = self._methods["/etcdserverpb.Watch/Watch"]
        assert isinstance(method, BidiStream)
        return OwnWatch(method, self._call, request)

    def after_failure(self) -> "OwnClient":
        """Return a client for undoing the effects of this one after a failure."""
        return self._services.identified(self._call)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """See `OwnServices.start`."""
        self._services.start(work)

    async def _unary(self, name: str, request: Message, kind: type[Answer]) -> Answer:
        method = self._methods[f"/etcdserverpb.{name}"]
        assert isinstance(method, Unary)
        try:
            response = method.call(request, self._call)
            if not isinstance(response, bytes | Chunks):
                response = await response
        except Refusal as error:
            # Its frames hold `response`, which holds it: a cycle.
            error.__traceback__ = None
            raise unknown(error) from None
        return kind.FromString(whole(response))


class OwnWatch:
    """The responses of one watch (a `ResponseStream` for the Watch service)."""

    def __init__(self, method: BidiStream, call: Call, request: rpc.WatchCreateRequest) -> None:
        self._waiting: deque[bytes] = deque()
        #: Bytes of them.
        self.unread = 0
        self._full = False
        self._ended = False
        self._error: Exception | None = None
        self._news = asyncio.Event()
        self._handler = method.open(call, self)
        self._handler.received(rpc.WatchRequest(create_request=request))

    async def next(self) -> rpc.WatchResponse | None:
        """Return the next response with events; None if the next revision is compacted.

        Raises EtcdError if the watch is refused, canceled or ended.
        """
        while True:
            response = await self._next()
            if response.compact_revision:
                return None
            if response.canceled:
                raise EtcdError(Code.UNKNOWN, response.cancel_reason)
            if response.events:
                return response

    async def _next(self) -> rpc.WatchResponse:
        while not self._waiting:
            if self._ended:
                raise self._error or LOST_WATCHER()
            self._news.clear()
            await self._news.wait()
        message = self._waiting.popleft()
        self.unread -= len(message)
        if self._full and self.ready():
            self._full = False
            self._handler.drained()
        return rpc.WatchResponse.FromString(message)

    def close(self) -> None:
        """Removes the watcher."""
        self._handler.closed()

    # ResponseStream

    def send(self, message: Encoded) -> None:
        message = whole(message)
        self._waiting.append(message)
        self.unread += len(message)
        self._news.set()

    def ready(self) -> bool:
        if self.unread < UNREAD_BYTES:
            return True
        self._full = True
        return False

    def waiting(self) -> int:
        return self.unread

    def finish(self, error: Exception | None = None) -> None:
        self._ended, self._error = True, error
        self._news.set()


def unknown(error: Refusal) -> Exception:
    """Return the error of an inner call as the client receives it."""
    told = as_etcd(error)
    return error if told is None else EtcdError(Code.UNKNOWN, told.message)


async def _logged(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Refusal as error:
        # The lease ends it later.
        log.warning("an ended call left its key behind", extra={"fields": {"error": str(error)}})
