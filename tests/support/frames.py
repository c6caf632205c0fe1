"""Frames of the peer port from fields, right or wrong, as tests send them."""

from collections.abc import Mapping
from typing import Any

import msgspec

from rusd.raft.transport.frames import Frame, pack

_encode = msgspec.msgpack.Encoder().encode


def raw(fields: Mapping[str, Any]) -> bytes:
    """A frame with these fields, checked by nothing."""
    body = _encode(fields)
    return len(body).to_bytes(4, "big") + body


def fields_of(frame: Frame) -> dict[str, Any]:
    """The fields of a frame as they go over the wire."""
    fields: dict[str, Any] = msgspec.msgpack.decode(pack(frame)[4:])
    return fields
