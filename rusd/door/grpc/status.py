"""Header blocks of gRPC answers: the head, and how a call ended.

Made once each and sent as they are: see `rusd/door/h2/headers.py` for why a block can be shared by
all connections. Source: gRPC over HTTP/2, "Responses".
"""

from functools import lru_cache

from rusd.door.h2 import block
from rusd.rpc.errors import Definition, EtcdError

_START = [(":status", "200"), ("content-type", "application/grpc")]

#: In front of an answer.
HEAD = block(_START)
#: After one that is complete.
OK = block([("grpc-status", "0")])
_OK_ALONE = block([*_START, ("grpc-status", "0")])


@lru_cache(maxsize=256)
def trailers(code: int, message: str) -> bytes:
    """After messages that were sent."""
    return block(_fields(code, message))


@lru_cache(maxsize=256)
def alone(code: int, message: str) -> bytes:
    """The whole answer of a call that has no message to give."""
    return block([*_START, *_fields(code, message)])


def ending(error: EtcdError | None, *, begun: bool) -> bytes:
    """How a stream ends whose head has been sent (`begun`) or not."""
    if error is None:
        return OK if begun else _OK_ALONE
    return (trailers if begun else alone)(error.code, error.message)


def plain(status: int, error: Definition) -> bytes:
    """A request that is not even gRPC, refused with an HTTP status and gRPC's own."""
    return block([(":status", str(status)), _START[1], *_fields(error.code, error.message)])


def _fields(code: int, message: str) -> list[tuple[str, str]]:
    fields = [("grpc-status", str(int(code)))]
    if message:
        fields.append(("grpc-message", percent_encoded(message)))
    return fields


def percent_encoded(message: str) -> str:
    """What is not printable ASCII, and the percent sign, as %XX of its UTF-8."""
    if message.isascii() and message.isprintable() and "%" not in message:
        return message
    return "".join(
        chr(byte) if 0x20 <= byte <= 0x7E and byte != 0x25 else f"%{byte:02X}"
        for byte in message.encode("utf-8", "replace")
    )
