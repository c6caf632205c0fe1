"""Pages of the console below /console/api/: JSON for those who may see it.

While authentication is on, a page needs a user: it asks the table of methods for the member's
status, whose guards decide as they do for every call. 64-bit integers in answers are strings, as in
the gateway. Web pages of other origins get nothing, since they are not pages of this console.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from google.protobuf.message import Message

from rusd.base.chunks import Chunks
from rusd.door.gateway import answers
from rusd.door.gateway.metadata import metadata
from rusd.door.http.access import OTHER_ORIGIN, Origins
from rusd.door.http.router import NOSNIFF, not_allowed
from rusd.proto import rpc_pb2 as rpc
from rusd.rpc.call import Call
from rusd.rpc.errors import Code, EtcdError, as_etcd
from rusd.rpc.methods import Methods
from rusd.rpc.pages import Page, PageRequest, PageResponse

_STATUS = "/etcdserverpb.Maintenance/Status"
_HEADERS = (("Content-Type", "application/json"), ("Cache-Control", "no-store"), NOSNIFF)
#: The largest 64-bit integer.
LARGEST = (1 << 63) - 1

#: Returns what is shown as JSON, or the JSON itself as bytes. Raises what maps to an EtcdError.
Find = Callable[[PageRequest], Awaitable[object]]


class JsonPages:
    """Makes the pages of one member."""

    def __init__(self, methods: Methods, origins: Origins) -> None:
        """`methods`: the table that the door serves."""
        self._methods = methods
        self._origins = origins

    def of_users(self, find: Find) -> Page:
        """Return the page of `find` for callers with a user, while authentication is on."""

        async def find_for_user(request: PageRequest) -> object:
            await self.called(_STATUS, rpc.StatusRequest(), request)
            return await find(request)

        return self.page(find_for_user)

    def page(self, find: Find) -> Page:
        """Return the page of `find`, which checks by itself who calls."""

        async def answer(request: PageRequest) -> PageResponse:
            if request.method not in ("GET", "HEAD"):
                return not_allowed("GET", "HEAD")
            headers, secure, origins = request.headers, request.caller.secure, self._origins
            # (A page that is read sends no `Origin` to its own.)
            known = bool(headers.get("origin")) or origins.knows_host(headers, secure=secure)
            if not known or not origins.admits(headers, secure=secure):
                return answers.refusal(OTHER_ORIGIN)
            try:
                found = await find(request)
            except Exception as error:
                refusal = as_etcd(error)
                if refusal is None:
                    raise
                return answers.refusal(refusal)
            if not isinstance(found, bytes):
                found = json.dumps(found, separators=(",", ":")).encode()
            return PageResponse(200, _HEADERS, found)

        return answer

    async def called(self, path: str, message: Message, request: PageRequest) -> bytes:
        """Return the encoded response of a method, called by the caller of `request`. Raises its
        refusal.
        """
        call = Call(_metadata(request), message.SerializeToString(), None, request.caller)
        method: Any = self._methods[path]
        response = method.call(message, call)
        encoded = await response if isinstance(response, Awaitable) else response
        return b"".join(encoded) if isinstance(encoded, Chunks) else encoded


def _metadata(request: PageRequest) -> dict[str, str]:
    try:
        return metadata(request.headers)
    except ValueError as error:
        raise EtcdError(Code.INVALID_ARGUMENT, str(error)) from None


def number(request: PageRequest, name: str) -> int | None:
    """Return a number of the query, `LARGEST` at most; None without it. Raises EtcdError if it is
    none.
    """
    text = request.query.get(name, [""])[0]
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(LARGEST))):
        raise EtcdError(Code.INVALID_ARGUMENT, f"{name} is not a number")
    return min(int(text), LARGEST)
