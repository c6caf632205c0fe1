"""The meaning of a request's headers: a method, a page, or a refusal.

It depends on the headers only, so that the HTTP/2 layer caches it for repeated header blocks.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from rusd.door.grpc.messages import ENCODINGS
from rusd.door.h2 import Request
from rusd.door.http.access import OTHER_ORIGIN, Origins
from rusd.door.http.http2 import PageHeaders
from rusd.rpc.errors import DEADLINE_EXCEEDED, Code, Definition
from rusd.rpc.methods import Method, Methods

#: The transport's own headers, which services do not see.
_RESERVED = frozenset(
    ("content-type", "content-length", "te", "grpc-timeout", "grpc-encoding",
     "grpc-accept-encoding", "grpc-message", "grpc-status")
)  # fmt: skip
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_DIGITS = re.compile("[0-9]+")
#: Characters of a grpc-timeout.
_SHORTEST, _LONGEST = 2, 9


@dataclass(frozen=True, slots=True)
class CallHeaders:
    """Decoded headers of one request."""

    path: str
    metadata: Mapping[str, str]
    content_length: int | None
    #: Seconds until the deadline; None without one.
    timeout: float | None = None
    encoding: str = "identity"
    method: Method | None = None
    #: Why there is no method to call, and the HTTP status that goes with it.
    refusal: Definition | None = None
    status: int = 200
    #: A request that is not gRPC.
    page: PageHeaders | None = None


class CallHeaderParser:
    """Interprets the headers of the calls of one door."""

    def __init__(self, methods: Methods, origins: Origins, *, pages: bool) -> None:
        """`origins`: whose web pages may call. `pages`: whether requests that are not gRPC get a
        page.
        """
        self._methods = methods
        self._origins = origins
        self._services = {path.split("/")[1] for path in methods}
        self._pages = pages

    def __call__(self, request: Request) -> CallHeaders:
        headers = dict(reversed(request.fields))
        length = request.content_length
        kind = headers.get("content-type", "")
        if not _is_grpc(kind):
            if self._pages:
                if request.authority:
                    headers["host"] = request.authority
                page = PageHeaders(request.method, request.path, headers, length)
                return CallHeaders(request.path, {}, length, page=page)
            text = f"invalid gRPC request content-type {_quoted(kind)}"
            refusal = Definition(Code.INVALID_ARGUMENT, text)
            return CallHeaders(request.path, {}, length, refusal=refusal, status=415)
        if request.method != "POST":
            text = f'Received a HEADERS frame with :method "{request.method}" which should be POST'
            refusal = Definition(Code.INTERNAL, text)
            return CallHeaders(request.path, {}, length, refusal=refusal, status=405)
        return self._call(request, headers)

    def _call(self, request: Request, headers: dict[str, str]) -> CallHeaders:
        timeout, refusal, status = None, None, 200
        if "grpc-timeout" in headers:
            try:
                timeout = seconds(headers["grpc-timeout"])
            except ValueError as error:
                refusal, status = Definition(Code.INTERNAL, f"malformed grpc-timeout: {error}"), 400
            else:
                refusal = None if timeout else DEADLINE_EXCEEDED
        encoding = headers.get("grpc-encoding") or "identity"
        method = self._methods.get(request.path)
        if method is None:
            refusal = refusal or self._unknown(request.path)
        elif encoding not in ENCODINGS:
            text = f'grpc: Decompressor is not installed for grpc-encoding "{encoding}"'
            refusal = refusal or Definition(Code.UNIMPLEMENTED, text)
        if "origin" in headers or "sec-fetch-site" in headers:
            # (A browser speaks HTTP/2 over TLS only.)
            named = {**headers, "host": request.authority or headers.get("host", "")}
            if not self._origins.admits(named, secure=True):
                refusal = OTHER_ORIGIN
        metadata = {
            name: value
            for name, value in headers.items()
            if name not in _RESERVED and not name.endswith("-bin")
        }
        return CallHeaders(
            request.path,
            metadata,
            request.content_length,
            timeout,
            encoding,
            method,
            refusal,
            status,
        )

    def _unknown(self, path: str) -> Definition:
        """Return UNIMPLEMENTED in grpc-go's words."""
        service, slash, name = path.removeprefix("/").rpartition("/")
        if not (slash and path.startswith("/")):
            text = f'malformed method name: "{path}"'
        elif service in self._services:
            text = f"unknown method {name} for service {service}"
        else:
            text = f"unknown service {service}"
        return Definition(Code.UNIMPLEMENTED, text)


def seconds(timeout: str) -> float:
    """Parse a grpc-timeout such as "250m"; returns seconds. Raises ValueError in grpc-go's
    words.
    """
    shown = _quoted(timeout)
    if len(timeout) < _SHORTEST:
        raise ValueError(f"transport: timeout string is too short: {shown}")
    if len(timeout) > _LONGEST:
        raise ValueError(f"transport: timeout string is too long: {shown}")
    number, unit = timeout[:-1], timeout[-1]
    if unit not in _UNITS:
        raise ValueError(f"transport: timeout unit is not recognized: {shown}")
    if _DIGITS.fullmatch(number) is None:
        raise ValueError(f"strconv.ParseUint: parsing {_quoted(number)}: invalid syntax")
    return int(number) * _UNITS[unit]


def _is_grpc(kind: str) -> bool:
    base = "application/grpc"
    return kind.startswith(base) and kind[len(base) : len(base) + 1] in ("", "+", ";")


def _quoted(text: str) -> str:
    return f'"{text[:100]}"'
