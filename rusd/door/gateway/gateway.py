"""The page of the JSON gateway: from a request's path to the call of its method."""

from collections.abc import Callable
from typing import Any

from rusd.base.worker import Worker
from rusd.door.gateway import answers
from rusd.door.gateway.metadata import metadata, timeout
from rusd.door.gateway.method_json import MethodsJson
from rusd.door.gateway.paths import OLD_ROOT, PATHS, ROOT
from rusd.door.gateway.slots import CallSlots
from rusd.door.gateway.streaming import OpenStreams, StreamCall
from rusd.door.gateway.unary import AT_ONCE, UnaryCall
from rusd.door.http.rendering import Renderings
from rusd.door.http.router import NOSNIFF, TEXT
from rusd.door.time_budget import TimeBudget
from rusd.rpc.errors import Code, EtcdError
from rusd.rpc.methods import Methods, Unary
from rusd.rpc.pages import PageRequest, PageResponse, Respond, nothing_to_cancel

_COMMON_NAME = PageResponse(
    400,
    [TEXT, NOSNIFF],
    b"CommonName of client sending a request against gateway will be ignored and not used as"
    b" expected\n",
)

#: gRPC path, call, its metadata, and seconds of its timeout.
_Found = tuple[str, UnaryCall | StreamCall, dict[str, str], float | None]


class Gateway:
    """The gateway of one member."""

    def __init__(
        self,
        methods: Methods,
        limit: int,
        names_matter: Callable[[], bool],
        at_once: int,
        budget: TimeBudget | None = None,
    ) -> None:
        """`methods`: guarded, as for gRPC; looked up at each call. `limit`: bytes of an encoded
        request. `at_once`: calls under way. `names_matter`: whether common names of certificates
        stand for users now; requests with one are refused then, as in etcd, since the gateway
        never uses it. `budget`: the time in which answers are rendered for connections that have
        none of their own.
        """
        self._renderings = Renderings(budget or TimeBudget())
        self._methods = methods
        self._names_matter = names_matter
        self._slots = CallSlots(at_once)
        #: One: several would take turns with the event loop.
        self._thread = Worker("json")
        self._streams = OpenStreams()
        json = MethodsJson(limit)
        self._calls: dict[str, tuple[str, UnaryCall | StreamCall]] = {}
        for http_path, path in PATHS.items():
            method = methods.get(path)
            if method is None:
                continue
            of_method = json.of(path, method.request, getattr(method, "decode_response", None))
            self._calls[http_path] = (
                path,
                UnaryCall(of_method, self._thread)
                if isinstance(method, Unary)
                else StreamCall(of_method, self._streams),
            )

    def stop(self) -> None:
        """The member stops: end all streams."""
        self._streams.stop()

    def close(self) -> None:
        """Release the gateway; no calls may follow."""
        self._thread.stop()

    async def page(self, request: PageRequest) -> PageResponse:
        """See `Page`."""
        found = self._find(request)
        if isinstance(found, PageResponse):
            return found
        path, call, values, granted = found
        method: Any = self._methods[path]
        sent: Any = await request.body.read() if isinstance(call, UnaryCall) else request.body
        await self._slots.take()
        try:
            if isinstance(call, UnaryCall):
                later = request.later or self._renderings.later
                response = await call.run(method, sent, values, granted, request.caller, later)
            else:
                response = await call.run(method, sent, values, granted, request.caller)
        except BaseException:
            self._slots.release()
            raise
        return self._slots.until_sent(response)

    def begin(
        self, request: PageRequest, body: bytes, respond: Respond
    ) -> Callable[[], None] | None:
        """See `DirectPage`: a unary call without a timeout, whose text is short."""
        found = self._find(request)
        if isinstance(found, PageResponse):
            respond(found)
            return nothing_to_cancel
        path, call, values, granted = found
        if not isinstance(call, UnaryCall) or granted is not None or len(body) > AT_ONCE:
            return None
        slots = self._slots
        if not slots.take_at_once():
            return None
        method: Any = self._methods[path]
        running = call.begin(
            method,
            body,
            values,
            request.caller,
            request.later or self._renderings.later,
            lambda response: respond(slots.until_sent(response)),
        )

        def cancel() -> None:
            if running.cancel():
                slots.release()

        return cancel

    def _find(self, request: PageRequest) -> PageResponse | _Found:
        """Return the call that a request asks for, or its refusal."""
        certificate = request.caller.certificate
        if certificate is not None and certificate.common_name and self._names_matter():
            return _COMMON_NAME
        path = request.path
        if path.startswith(OLD_ROOT):
            path = ROOT + path[len(OLD_ROOT) :]
        found = self._calls.get(path)
        if found is None:
            return answers.refusal(answers.NOT_FOUND)
        if request.method != "POST" or _overridden(request):
            return answers.refusal(answers.METHOD_NOT_ALLOWED)
        path, call = found
        try:
            return path, call, metadata(request.headers), timeout(request.headers)
        except ValueError as error:
            return answers.refusal(EtcdError(Code.INVALID_ARGUMENT, str(error)))


def _overridden(request: PageRequest) -> bool:
    """Return whether a form asks for another method, as grpc-gateway lets it."""
    override = request.headers.get("x-http-method-override", "")
    form = request.headers.get("content-type") == "application/x-www-form-urlencoded"
    return form and override.upper() not in ("", "POST")
