"""HTTP responses of the gateway: statuses, headers and the JSON of errors."""

from collections.abc import AsyncIterator

from rusd.door.gateway.json_writer import escaped, text
from rusd.rpc.errors import Code, Definition, EtcdError
from rusd.rpc.pages import PageResponse

JSON = ("Content-Type", "application/json")
#: Of every answer that came from a method.
_CALLED = ("Grpc-Metadata-Content-Type", "application/grpc")
HEADERS = (JSON, _CALLED)

#: HTTP status by gRPC code, as grpc-gateway maps them.
STATUSES = {
    Code.OK: 200,
    Code.CANCELED: 499,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}

NOT_FOUND = Definition(Code.NOT_FOUND, "Not Found")
#: With status 501, since grpc-gateway has no code for 405.
METHOD_NOT_ALLOWED = Definition(Code.UNIMPLEMENTED, "Method Not Allowed")


def status_json(error: EtcdError | Definition) -> str:
    """An error as JSON."""
    return f'{{"code":{int(error.code)},"message":{text(error.message)}}}'


def refusal(error: EtcdError | Definition) -> PageResponse:
    """Return the response of a failed call."""
    headers = [JSON]
    if error.code is Code.UNAUTHENTICATED:
        headers.append(("WWW-Authenticate", error.message))
    return PageResponse(STATUSES[error.code], headers, status_json(error).encode())


def stream_error(error: EtcdError | Definition) -> bytes:
    """Return the last line of a failed stream."""
    return escaped(f'{{"error":{status_json(error)}}}\n'.encode())


def stream_refusal(error: EtcdError | Definition) -> PageResponse:
    """Return the response of a stream that failed before its first message."""
    return PageResponse(STATUSES[error.code], (JSON,), stream_error(error))


def answer(body: bytes | AsyncIterator[bytes]) -> PageResponse:
    """Return the response of a successful call."""
    return PageResponse(200, HEADERS, body)
