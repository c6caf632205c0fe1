"""mvccpb.KeyValue by hand: the encoding that is stored, sent and hashed.

Made here instead of by protobuf because it is made once for every put, on every member: fields in
number order, defaults left out, so the bytes are those protobuf's deterministic encoding gives.
"""

import struct
from typing import NamedTuple

from rusd.proto import kv_pb2

_NUMBERS = struct.Struct(">qqqq")
_MASK = (1 << 64) - 1

PUT = 0
DELETE = 1


class Live(NamedTuple):
    """A key's version at some revision."""

    create_revision: int
    mod_revision: int
    version: int
    lease: int
    #: Encoded mvccpb.KeyValue.
    kv: bytes


class Event(NamedTuple):
    """One change, as watchers are told of it."""

    #: PUT or DELETE.
    type: int
    key: bytes
    mod_revision: int
    sub: int
    #: Encoded KeyValue; of a deletion, key and mod_revision alone.
    kv: bytes
    #: Encoded KeyValue before the change; None if there was none or it is compacted away.
    prev: bytes | None


def varint(number: int) -> bytes:
    """Protobuf's base-128 encoding; negative numbers take ten bytes, as int64 does."""
    number &= _MASK
    if number < 0x80:
        return bytes((number,))
    parts = bytearray()
    while number >= 0x80:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def encode(
    key: bytes, create_revision: int, mod_revision: int, version: int, value: bytes, lease: int
) -> bytes:
    """An encoded mvccpb.KeyValue."""
    parts: list[bytes] = []
    if key:
        parts += (b"\x0a", varint(len(key)), key)
    if create_revision:
        parts += (b"\x10", varint(create_revision))
    if mod_revision:
        parts += (b"\x18", varint(mod_revision))
    if version:
        parts += (b"\x20", varint(version))
    if value:
        parts += (b"\x2a", varint(len(value)), value)
    if lease:
        parts += (b"\x30", varint(lease))
    return b"".join(parts)


def pack(live: Live) -> bytes:
    """The form kept in family CURRENT: the numbers, then the encoded KeyValue."""
    return _NUMBERS.pack(*live[:4]) + live.kv


def unpack(stored: bytes) -> Live:
    """A value of family CURRENT."""
    create, mod, version, lease = _NUMBERS.unpack_from(stored)
    return Live(create, mod, version, lease, stored[_NUMBERS.size :])


def kv_of(stored: bytes) -> bytes:
    """The encoded KeyValue of a value of family CURRENT, without looking at the numbers."""
    return stored[_NUMBERS.size :]


def parse(kv: bytes) -> Live:
    """An encoded KeyValue with its numbers."""
    message = kv_pb2.KeyValue.FromString(kv)
    return Live(message.create_revision, message.mod_revision, message.version, message.lease, kv)


def key_of(kv: bytes) -> bytes:
    """The user key of an encoded KeyValue (its first field)."""
    if not kv or kv[0] != 0x0A:
        raise ValueError("not an encoded KeyValue with a key")
    length, at, shift = 0, 1, 0
    while True:
        byte = kv[at]
        length |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return kv[at : at + length]
        shift += 7


def value_of(kv: bytes) -> bytes:
    """The value of an encoded KeyValue."""
    return kv_pb2.KeyValue.FromString(kv).value


def deletion(key: bytes, mod_revision: int) -> bytes:
    """The KeyValue of a DELETE event: key and revision of the deletion, nothing else."""
    return encode(key, 0, mod_revision, 0, b"", 0)
