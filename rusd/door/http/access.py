"""Access control of HTTP requests on the client port, by their Host and Origin.

- `--host-whitelist`: names that a request without TLS may have in `Host`, against DNS rebinding
- `--cors`: origins that browsers may let read responses (etcd's headers, `*` by default)
- `OPTIONS` is answered for every path, as in etcd

Besides, every request that may do more than read (all but GET, HEAD and OPTIONS; WebSockets too) is
refused to pages of other origins, unless `--cors` names them: etcd executes it. The default of the
flag does not count: with it any page in the browser of someone near a member could write. The same
holds for gRPC calls (`rusd/door/grpc/request_headers.py`), which a page can make over TLS.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import ip_address

from rusd.base.logs import LimitedLog, get_logger
from rusd.door.http.router import NOSNIFF, TEXT, Router
from rusd.rpc.errors import Code, Definition
from rusd.rpc.pages import PageRequest, PageResponse, Respond, nothing_to_cancel

log = get_logger(__name__)
rejected = LimitedLog(log)

ANY = "*"
_METHODS = ("Access-Control-Allow-Methods", "POST, GET, OPTIONS, PUT, DELETE")
_HEADERS = ("Access-Control-Allow-Headers", "accept, content-type, authorization")
_ANYONE = (_METHODS, ("Access-Control-Allow-Origin", ANY), _HEADERS)
_SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}

#: In etcd's words, with the name that was asked for.
_REBINDING = """
etcd received your request, but the Host header was unrecognized.

To fix this, choose one of the following options:
- Enable TLS, then any HTTPS request will be allowed.
- Add the hostname you want to use to the whitelist in settings.
  - e.g. etcd --host-whitelist {}

This requirement has been added to help prevent "DNS Rebinding" attacks (CVE-2018-5702).

"""

OTHER_ORIGIN = Definition(
    Code.PERMISSION_DENIED,
    "rusd: web pages of other origins, or by a name that is not this member's, may not call it"
    " (--cors, --host-whitelist)",
)
#: In the form of the JSON gateway.
OTHER_ORIGIN_PAGE = PageResponse(
    403,
    [("Content-Type", "application/json"), NOSNIFF],
    json.dumps(
        {"code": int(OTHER_ORIGIN.code), "message": OTHER_ORIGIN.message}, separators=(",", ":")
    ).encode(),
)


class Origins:
    """The origins that `--cors` allows, and this one."""

    def __init__(self, given: Sequence[str], names: Iterable[str] = ()) -> None:
        """`given`: the value of the flag; empty without it. `names`: of this member's hosts."""
        self._explicit = bool(given)
        self._any = ANY in given or not given
        self._allowed = frozenset(_normal(origin) for origin in given)
        self._names = frozenset(name.lower() for name in names)

    def headers(self, origin: str) -> Sequence[tuple[str, str]]:
        """Return the CORS headers for a request from `origin` ("" if it names none)."""
        if self._any:
            return _ANYONE
        if origin and _normal(origin) in self._allowed:
            return (_METHODS, ("Access-Control-Allow-Origin", origin), _HEADERS)
        return ()

    def admits(self, headers: Mapping[str, str], *, secure: bool) -> bool:
        """Return whether a request with these headers may act: it comes from no browser, from a
        page of this origin, or of one that the flag names. `secure`: whether it came over TLS.
        """
        rebound = headers.get("origin", "").startswith("http:") and not self.knows_host(
            headers, secure=secure
        )
        if same_origin(headers, secure=secure) and not rebound:
            return True
        return self._explicit and (self._any or _normal(headers.get("origin", "")) in self._allowed)

    def knows_host(self, headers: Mapping[str, str], *, secure: bool) -> bool:
        """Return whether `Host` is a number, a local name or one of this member's; a page that came
        by another name may be from elsewhere, and the name was made to lead here.

        With TLS, or a proxy that ends it, the certificate has proved the name.
        """
        name = _hostname(headers.get("host", "")).lower().rstrip(".")
        return (
            secure
            or "sec-fetch-site" in headers
            or "." not in name
            or name in self._names
            or name.endswith(".localhost")
            or _is_address(name)
        )


def same_origin(headers: Mapping[str, str], *, secure: bool) -> bool:
    """Return whether a request comes from a page of this origin, or from no browser.

    `Sec-Fetch-Site` decides alone if it is there: no page can set it, and it holds behind a proxy
    that changes `Host`. Browsers send it over TLS and to localhost.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in ("none", "same-origin")
    origin, host = headers.get("origin", ""), headers.get("host", "")
    if not origin:
        return True
    # (Over HTTP/2 a request may name no host at all: then no page has its origin.)
    return bool(host) and _normal(origin) == _normal(f"{'https' if secure else 'http'}://{host}")


class AccessControl:
    """Serves the requests that pass its checks."""

    def __init__(self, router: Router, origins: Origins, hosts: Sequence[str]) -> None:
        """`hosts`: the value of `--host-whitelist`."""
        self._router = router
        self._origins = origins
        self._hosts = frozenset(hosts)
        self._any_host = not hosts or ANY in hosts

    async def serve(self, request: PageRequest) -> PageResponse:
        """Return the response to a request. Never raises."""
        headers = request.headers
        if not self._is_known_host(request):
            host = _hostname(headers.get("host", ""))
            fields = {"host": host, "remote": request.caller.address}
            rejected.warning("rejecting HTTP request to prevent DNS rebinding attacks", fields)
            body = _REBINDING.format(_go_quoted(host)).encode()
            return PageResponse(421, [TEXT, NOSNIFF], body)
        cors = self._origins.headers(headers.get("origin", ""))
        if request.method == "OPTIONS":
            return PageResponse(200, cors)
        if self._may_act(request):
            response = await self._router.serve(request)
        else:
            response = OTHER_ORIGIN_PAGE
        if not cors:
            return response
        return PageResponse(response.status, (*response.headers, *cors), response.body)

    def begin(
        self, request: PageRequest, body: bytes, respond: Respond
    ) -> Callable[[], None] | None:
        """See `DirectPage`."""
        if request.method == "OPTIONS" or not self._is_known_host(request):
            return None
        cors = self._origins.headers(request.headers.get("origin", ""))
        if not self._may_act(request):
            refusal = OTHER_ORIGIN_PAGE
            respond(PageResponse(refusal.status, (*refusal.headers, *cors), refusal.body))
            return nothing_to_cancel
        if not cors:
            return self._router.begin(request, body, respond)
        return self._router.begin(
            request,
            body,
            lambda response: respond(
                PageResponse(response.status, (*response.headers, *cors), response.body)
            ),
        )

    def accepts_socket(self, request: PageRequest) -> bool:
        """Return whether a WebSocket may be opened at the request's path."""
        return self._is_known_host(request) and self._router.accepts_socket(request)

    def _may_act(self, request: PageRequest) -> bool:
        return request.method in _SAFE_METHODS or self._origins.admits(
            request.headers, secure=request.caller.secure
        )

    def _is_known_host(self, request: PageRequest) -> bool:
        if self._any_host or request.caller.secure:
            return True
        return _hostname(request.headers.get("host", "")) in self._hosts


def _hostname(host: str) -> str:
    """Return `host` without its port, as Go's net.SplitHostPort; whole if it has none."""
    name, colon, _ = host.rpartition(":")
    if name.startswith("[") and name.endswith("]"):
        return name[1:-1]
    if not colon or ":" in name or "[" in host or "]" in host:
        return host
    return name


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _normal(origin: str) -> str:
    scheme, separator, rest = origin.lower().partition("://")
    port = _DEFAULT_PORTS.get(scheme)
    return f"{scheme}{separator}{rest.removesuffix(port) if port else rest}"


def _go_quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
