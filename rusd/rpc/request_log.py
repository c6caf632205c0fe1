"""The log line of a slow call, with the fields that etcd's tools look for.

    request stats    a unary call that took longer than --warning-unary-request-duration; at level
                     debug, every call whose response was not there at once

Requests are shown with the sizes of their values in place of the values, and only those of KV.
Source: etcd's unary interceptor.
"""

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf import text_format
from google.protobuf.message import Message

from rusd.base.logs import get_logger, go_duration
from rusd.proto import rpc_pb2 as rpc
from rusd.proto.nested_txn import txn_request

log = get_logger(__name__)

#: Characters of a request that are shown, and bytes of the largest that is.
SHOWN = 2048
LARGEST = 64 << 10
#: Warnings that are written in a second; what is left out is counted in the next.
PER_SECOND = 50
_HIDDEN = "value"


class RequestLog:
    """Writes the lines of one member."""

    def __init__(self, threshold: float, clock: Callable[[], float]) -> None:
        """`threshold`: seconds from which a call is logged; `clock`: seconds since the epoch."""
        self._all = log.isEnabledFor(logging.DEBUG)
        self.threshold = 0.0 if self._all else threshold
        self._clock = clock
        self._second = 0
        self._written = 0

    def slow(self, method: str, request: bytes, remote: str, seconds: float, size: int) -> None:
        """Log a call that took longer than `threshold`. `request`: as received; `size`: bytes of
        its response.
        """
        now = self._clock()
        left_out = self._left_out(now)
        if left_out is None:
            return
        decoded = _decoded(method, request)
        fields: dict[str, object] = {
            "start time": _time(now - seconds),
            "time spent": go_duration(seconds),
            "remote": remote,
            "response type": method,
            "request count": _writes(decoded),
            "request size": -1 if decoded is None else len(request),
            "response size": -1 if decoded is None else size,
            "request content": "" if decoded is None else shown(decoded, len(request)),
        }
        if left_out:
            fields["left-out"] = left_out
        level = logging.DEBUG if self._all else logging.WARNING
        log.log(level, "request stats", extra={"fields": fields})

    def _left_out(self, now: float) -> int | None:
        """Count a line. Returns the number of suppressed lines before it; None if it must be
        suppressed.
        """
        left_out = 0
        if int(now) != self._second:
            left_out = max(0, self._written - PER_SECOND)
            self._second, self._written = int(now), 0
        self._written += 1
        return left_out if self._written <= PER_SECOND or self._all else None


_KINDS: dict[str, type[Message]] = {
    "/etcdserverpb.KV/Range": rpc.RangeRequest,
    "/etcdserverpb.KV/Put": rpc.PutRequest,
    "/etcdserverpb.KV/DeleteRange": rpc.DeleteRangeRequest,
    "/etcdserverpb.KV/Txn": rpc.TxnRequest,
}


def _decoded(method: str, request: bytes) -> Message | None:
    kind = _KINDS.get(method)
    if kind is rpc.TxnRequest:
        return txn_request(request)
    return None if kind is None else kind.FromString(request)


def _writes(request: Message | None) -> int:
    """Return the number of writes that etcd logs; -1 without a request of KV."""
    if request is None:
        return -1
    if isinstance(request, rpc.PutRequest):
        return 1
    return len(request.success) if isinstance(request, rpc.TxnRequest) else 0


def shown(request: Message, size: int) -> str:
    """Return the request in protobuf's text form, with each value replaced by its size."""
    if size > LARGEST:
        return f"({size} bytes)"
    text = ""
    try:
        for part in _parts(request):
            text += part if not text else f" {part}"
            # (A txn of many operations takes the library longer than to apply it.)
            if len(text) > SHOWN:
                return f"{text[:SHOWN]}…"
    except RecursionError:  # (txns nested in each other)
        return f"({size} bytes)"
    return text


def _parts(request: Message) -> Iterator[str]:
    """Yield the text of a request's fields, of a repeated one each value by itself."""
    for field, value in request.ListFields():
        if field.message_type is None:
            part = type(request)()
            setattr(part, field.name, value)
            _hide(part)
            yield text_format.MessageToString(part, as_one_line=True)
            continue
        for each in _each(value):
            _hide(each)
            text = text_format.MessageToString(each, as_one_line=True)
            yield f"{field.name} {{ {text} }}" if text else f"{field.name} {{ }}"


def _hide(message: Message) -> None:
    for field, value in message.ListFields():
        if field.name == _HIDDEN and isinstance(value, bytes):
            setattr(message, field.name, b"(%d bytes)" % len(value))
        elif field.message_type is not None:
            for each in _each(value):
                _hide(each)


def _each(value: Any) -> Any:
    return (value,) if isinstance(value, Message) else value


def _time(seconds: float) -> str:
    began = datetime.fromtimestamp(0, UTC) + timedelta(seconds=seconds)
    return began.isoformat(timespec="milliseconds").replace("+00:00", "Z")
