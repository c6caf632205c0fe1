"""`--console-read-only`: refuses what the console asks to change.

The console marks its calls with a header. That protects against mistakes in the console; a client
that leaves the header out may do what its permissions allow.
"""

from collections.abc import Callable
from typing import Protocol

from rusd.door.gateway import answers
from rusd.door.gateway.paths import OLD_ROOT, PATHS, READS, ROOT
from rusd.rpc.errors import Code, Definition
from rusd.rpc.pages import PageRequest, PageResponse, Respond, nothing_to_cancel

#: The header of the console's calls, in lowercase.
HEADER = "rusd-console"
#: What is let through: a token must be had to read.
_ALLOWED = READS | {"/etcdserverpb.Auth/Authenticate"}
_REFUSED = answers.refusal(
    Definition(
        Code.PERMISSION_DENIED, "rusd: the console only reads on this member (--console-read-only)"
    )
)


class Pages(Protocol):
    """The JSON gateway."""

    async def page(self, request: PageRequest) -> PageResponse:
        """See `Page`."""

    def begin(
        self, request: PageRequest, body: bytes, respond: Respond
    ) -> Callable[[], None] | None:
        """See `DirectPage`."""


class ReadOnly:
    """The gateway, with what the console may call of it."""

    def __init__(self, gateway: Pages) -> None:
        self._gateway = gateway

    async def page(self, request: PageRequest) -> PageResponse:
        """See `Page`."""
        return _REFUSED if _changes(request) else await self._gateway.page(request)

    def begin(
        self, request: PageRequest, body: bytes, respond: Respond
    ) -> Callable[[], None] | None:
        """See `DirectPage`."""
        if _changes(request):
            respond(_REFUSED)
            return nothing_to_cancel
        return self._gateway.begin(request, body, respond)


def _changes(request: PageRequest) -> bool:
    if HEADER not in request.headers:
        return False
    path = request.path
    if path.startswith(OLD_ROOT):
        path = ROOT + path[len(OLD_ROOT) :]
    return path in PATHS and PATHS[path] not in _ALLOWED
