"""Identifies callers, and refuses those without the role that the method requires.

While authentication is off, calls pass and no token is looked at, as in etcd. While it is on, the
identity is put into the call: services check permissions for keys with it, and sign proposals,
which are checked again when they are applied.

A member that is behind may refuse what was permitted, by an acknowledged change, a moment ago.
Where etcd decides later (`Requirements.confirmed`), a refusal is therefore decided once more behind
a read index; a call that is admitted at first does not wait.

Streams of requests (Watch, LeaseKeepAlive) are not wrapped: their services identify the caller for
every request, since a token may end, and authentication may be enabled, while a stream is open.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rusd.auth.errors import AuthError
from rusd.auth.records import Identity
from rusd.auth.store import AuthStore
from rusd.base.errors import Refusal
from rusd.base.pending import Pending
from rusd.proto import rpc_pb2 as rpc
from rusd.rpc.authentication import Authenticator
from rusd.rpc.call import Call
from rusd.rpc.methods import BidiStream, Method, Unary
from rusd.rpc.requirements import Permission, Requirements
from rusd.rpc.responses import Response
from rusd.rpc.streams import ResponseStream, StreamHandler

_Check = Callable[[Identity, Any], None]


class Authentication:
    """See `Guard`."""

    def __init__(self, authenticator: Authenticator, auth: AuthStore) -> None:
        self._authenticator = authenticator
        self._auth = auth
        self._checks: dict[Permission, _Check] = {
            Permission.VALID_TOKEN: lambda identity, request: None,
            Permission.KEYS: lambda identity, request: None,
            Permission.LEASE_KEYS: self._user,
            Permission.USER: self._user,
            Permission.ROOT: self._root,
            Permission.ROOT_OR_SELF: lambda identity, request: None,
            Permission.ROOT_TO_CHANGE: self._root_to_change,
        }

    def wrap(self, method: Method, requirements: Requirements) -> Method:
        if requirements.permission is Permission.NONE or isinstance(method, BidiStream):
            return method
        check = self._checks[requirements.permission]
        identify, auth = self._authenticator.identify, self._auth
        identify_again, confirmed = self._authenticator.identify_again, requirements.confirmed

        if isinstance(method, Unary):
            run = method.call

            def call(request: Any, call: Call) -> Response:
                if not auth.enabled:
                    return run(request, call)
                try:
                    found = identify(call)
                    if isinstance(found, Identity):
                        call.identity = found
                        check(found, request)
                except AuthError:
                    if confirmed is None or not confirmed(request):
                        raise
                    found = identify_again(call)
                if isinstance(found, Identity):
                    return run(request, call)
                return found.then(lambda identity: identified(identity, request, call))

            def identified(identity: Identity, request: Any, call: Call) -> Response:
                call.identity = identity
                check(identity, request)
                return run(request, call)

            return replace(method, call=call)

        start = method.open

        def opened(request: Any, call: Call, responses: ResponseStream) -> StreamHandler:
            if not auth.enabled:
                return start(request, call, responses)
            try:
                found = identify(call)
            except AuthError:
                if confirmed is None or not confirmed(request):
                    raise
                found = identify_again(call)

            def begin(identity: Identity) -> StreamHandler:
                call.identity = identity
                check(identity, request)
                return start(request, call, responses)

            if isinstance(found, Identity):
                return begin(found)
            return _StreamOnceIdentified(found, begin, responses)

        return replace(method, open=opened)

    def _user(self, identity: Identity, request: Any) -> None:
        self._auth.check_identified(identity)

    def _root(self, identity: Identity, request: Any) -> None:
        self._auth.check_root(identity)

    def _root_to_change(self, identity: Identity, request: Any) -> None:
        if request.action == rpc.AlarmRequest.GET:
            self._auth.check_identified(identity)
        else:
            self._auth.check_root(identity)


class _StreamOnceIdentified:
    """A server stream that begins when its caller is identified."""

    def __init__(
        self,
        identity: Pending[Identity],
        begin: Callable[[Identity], StreamHandler],
        responses: ResponseStream,
    ) -> None:
        self._begin = begin
        self._responses = responses
        self._handler: StreamHandler | None = None
        self._closed = False
        identity.add_done_callback(self._identified)

    def _identified(self, identity: Pending[Identity]) -> None:
        if self._closed:
            return
        try:
            self._handler = self._begin(identity.result())
        except Refusal as error:
            self._responses.finish(error)

    def received(self, request: Any) -> None:
        """Not called for server streams."""

    def half_closed(self) -> None:
        if self._handler is not None:
            self._handler.half_closed()

    def drained(self) -> None:
        if self._handler is not None:
            self._handler.drained()

    def closed(self) -> None:
        self._closed = True
        if self._handler is not None:
            self._handler.closed()
