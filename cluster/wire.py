"""A few calls to a member, over gRPC without generated messages.

Users' tests may load another library's copy of etcd's protobuf messages, and a process can hold
only one. So the requests are constant bytes and the response is decoded by hand: a protobuf message
is a sequence of (field number and wire type, value) pairs; the fields used are varints and bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import grpc

STATUS = "/etcdserverpb.Maintenance/Status"
RANGE = "/etcdserverpb.KV/Range"
AUTHENTICATE = "/etcdserverpb.Auth/Authenticate"

#: RangeRequest{key: "health"}: the linearizable read `etcdctl endpoint health` makes.
HEALTH_READ = b"\x0a\x06health"

_NOT_IDENTIFIED = ("etcdserver: user name is empty", "etcdserver: invalid auth token")

#: A new connection for each call: a shared one would wait for its back-off after the member was
#: down, and delay the response.
OPTIONS = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]


class NoAnswer(Exception):
    """The member did not answer, or answered with an error."""


class NotIdentified(NoAnswer):
    """Authentication is on, and the call carries no token, or one that has ended."""


class Access(NamedTuple):
    """Access to members: TLS, and the token of a user."""

    credentials: grpc.ChannelCredentials | None = None
    token: str = ""


PLAIN = Access()


@dataclass(frozen=True)
class Status:
    """The status of a member (etcd's StatusResponse)."""

    member_id: int
    #: Member id of the leader it follows; 0 when it knows none.
    leader_id: int
    term: int
    #: Its commit index.
    raft_index: int
    applied_index: int
    db_size: int


def status(endpoint: str, timeout: float = 1.0, access: Access = PLAIN) -> Status:
    """Return the status of one member ("host:port"); raises NoAnswer."""
    fields = dict(fields_of(_call(endpoint, STATUS, b"", timeout, access)))
    header = fields.get(1, b"")
    if not isinstance(header, bytes):
        raise NoAnswer(f"{endpoint}: no response header")
    member_id = dict(fields_of(header)).get(2, 0)

    def number(field: int) -> int:
        value = fields.get(field, 0)
        return value if isinstance(value, int) else 0

    return Status(
        member_id=member_id if isinstance(member_id, int) else 0,
        leader_id=number(4),
        term=number(6),
        raft_index=number(5),
        applied_index=number(7),
        db_size=number(3),
    )


def check_health(endpoint: str, timeout: float = 1.0, access: Access = PLAIN) -> None:
    """Make a linearizable read, which needs a quorum; raises NoAnswer."""
    _call(endpoint, RANGE, HEALTH_READ, timeout, access)


def log_in(
    endpoint: str, user: str, password: str, timeout: float = 5.0, access: Access = PLAIN
) -> str:
    """Log in; return a token; raises NoAnswer."""
    request = field(1, user.encode()) + field(2, password.encode())
    token = dict(fields_of(_call(endpoint, AUTHENTICATE, request, timeout, access))).get(2, b"")
    return token.decode() if isinstance(token, bytes) else ""


#: Calls a method with an encoded request and returns the encoded response; raises NoAnswer.
Ask = Callable[[str, bytes], bytes]


@contextmanager
def connected(endpoint: str, timeout: float, access: Access = PLAIN) -> Iterator[Ask]:
    """Hold a connection to a member for several calls, of `timeout` seconds each."""
    with (
        grpc.insecure_channel(endpoint, options=OPTIONS)
        if access.credentials is None
        else grpc.secure_channel(endpoint, access.credentials, options=OPTIONS)
    ) as channel:
        metadata = (("token", access.token),) if access.token else ()

        def ask(method: str, request: bytes) -> bytes:
            try:
                # No serializers: grpcio then takes and gives bytes.
                call = channel.unary_unary(method)
                answer: bytes = call(request, timeout=timeout, metadata=metadata)
            except grpc.RpcError as error:
                kind = NotIdentified if error.details() in _NOT_IDENTIFIED else NoAnswer
                raise kind(f"{endpoint}: {error.code().name}: {error.details()}") from None
            return answer

        yield ask


def _call(endpoint: str, method: str, request: bytes, timeout: float, access: Access) -> bytes:
    with connected(endpoint, timeout, access) as ask:
        return ask(method, request)


def field(number: int, value: bytes | int) -> bytes:
    """Encode a field of a message."""
    if isinstance(value, int):
        return _varint_of(number << 3) + _varint_of(value)
    return _varint_of(number << 3 | 2) + _varint_of(len(value)) + value


def fields_of(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Return (field number, value) of every varint or length-delimited field."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield tag >> 3, value
        elif kind == 2:
            size, at = _varint(message, at)
            yield tag >> 3, message[at : at + size]
            at += size
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise NoAnswer(f"wire type {kind} in an answer")


def _varint_of(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*encoded, number))


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """Return the number at `at` and the position after it."""
    value = shift = 0
    while True:
        if at >= len(message):
            raise NoAnswer("the answer ends within a number")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
