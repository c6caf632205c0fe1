"""Header blocks of gRPC responses: headers and trailers (gRPC over HTTP/2, "Responses").

Each is encoded once: `rusd/door/h2/headers.py` says why all connections can share a block.
"""

from functools import lru_cache

from rusd.door.h2 import block
from rusd.rpc.errors import Definition, EtcdError

_START = [(":status", "200"), ("content-type", "application/grpc")]

#: Headers of a response.
HEAD = block(_START)
#: Trailers of a call that succeeded.
OK = block([("grpc-status", "0")])
_OK_ALONE = block([*_START, ("grpc-status", "0")])


@lru_cache(maxsize=256)
def trailers(code: int, message: str) -> bytes:
    """Return the trailers of a failed call, sent after its messages."""
    return block(_fields(code, message))


@lru_cache(maxsize=256)
def trailers_only(code: int, message: str) -> bytes:
    """Return the whole response of a failed call without messages (trailers only)."""
    return block([*_START, *_fields(code, message)])


def last_headers(error: EtcdError | None, *, begun: bool) -> bytes:
    """Return the last header block of a stream. `begun`: its headers were sent before."""
    if error is None:
        return OK if begun else _OK_ALONE
    return (trailers if begun else trailers_only)(error.code, error.message)


def http_error(status: int, error: Definition) -> bytes:
    """Return the response to a request that is not gRPC: an HTTP status, and gRPC's."""
    return block([(":status", str(status)), _START[1], *_fields(error.code, error.message)])


def _fields(code: int, message: str) -> list[tuple[str, str]]:
    fields = [("grpc-status", str(int(code)))]
    if message:
        fields.append(("grpc-message", percent_encoded(message)))
    return fields


def percent_encoded(message: str) -> str:
    """Encode percent signs and bytes other than printable ASCII as %XX."""
    if message.isascii() and message.isprintable() and "%" not in message:
        return message
    return "".join(
        chr(byte) if 0x20 <= byte <= 0x7E and byte != 0x25 else f"%{byte:02X}"
        for byte in message.encode("utf-8", "replace")
    )
