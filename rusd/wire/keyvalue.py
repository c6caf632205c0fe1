"""mvccpb.KeyValue: the encoding that is stored, sent and hashed.

Every member encodes a KeyValue once for each put. Fields are in number order and defaults are left
out, so the bytes are those of protobuf's deterministic encoding.

Live versions are stored *framed*: as field 2 of a message, which is the number of KeyValues in
RangeResponse, PutResponse and Event alike. A response is the stored bytes, joined.
"""

from typing import NamedTuple

from rusd.proto import kv_pb2

_parse = kv_pb2.KeyValue.FromString
# The constructor of a NamedTuple is Python code and takes twice as long.
_tuple = tuple.__new__
_MASK = (1 << 64) - 1
#: Varints of the numbers below 2**14; and the same 14 bits as the lower part of a longer varint.
_LAST = [bytes((n,)) if n < 0x80 else bytes((n & 0x7F | 0x80, n >> 7)) for n in range(1 << 14)]
_LOWER = [bytes((n & 0x7F | 0x80, n >> 7 | 0x80)) for n in range(1 << 14)]

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
    """One change of a key, as sent to watchers."""

    #: PUT or DELETE.
    type: int
    key: bytes
    mod_revision: int
    sub: int
    #: Encoded KeyValue; of a deletion, key and mod_revision alone.
    kv: bytes
    #: Encoded KeyValue before the change; None if there was none or it is compacted away.
    prev: bytes | None


def event_size(event: Event) -> int:
    """Returns the bytes of an event's KeyValues."""
    return len(event.kv) if event.prev is None else len(event.kv) + len(event.prev)


def varint(number: int) -> bytes:
    """Protobuf's base-128 encoding; ten bytes for a negative number, as for an int64."""
    if 0 <= number < 0x4000:
        return _LAST[number]
    if 0 <= number < 0x1000_0000:
        return _LOWER[number & 0x3FFF] + _LAST[number >> 14]
    number &= _MASK
    parts = []
    while number >= 0x4000:
        parts.append(_LOWER[number & 0x3FFF])
        number >>= 14
    parts.append(_LAST[number])
    return b"".join(parts)


def encode(
    key: bytes, create_revision: int, mod_revision: int, version: int, value: bytes, lease: int
) -> bytes:
    """An encoded mvccpb.KeyValue."""
    if not (key and create_revision and mod_revision and version and value):
        return _encode_sparse(key, create_revision, mod_revision, version, value, lease)
    size = len(value)
    create = varint(create_revision)
    return b"\x0a%b%b\x10%b\x18%b\x20%b\x2a%b%b%b" % (
        varint(len(key)),
        key,
        create,
        create if mod_revision == create_revision else varint(mod_revision),
        _LAST[version] if 0 < version < 0x4000 else varint(version),
        _LAST[size] if size < 0x4000 else varint(size),
        value,
        b"\x30" + varint(lease) if lease else b"",
    )


def _encode_sparse(
    key: bytes, create_revision: int, mod_revision: int, version: int, value: bytes, lease: int
) -> bytes:
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


def frame(kv: bytes) -> bytes:
    """An encoded KeyValue as field 2 of a message: the form of values in family CURRENT."""
    size = len(kv)
    return b"\x12%b%b" % (_LAST[size] if size < 0x4000 else varint(size), kv)


def kv_of(framed: bytes) -> bytes:
    """The encoded KeyValue in a frame."""
    # The length before it takes one byte below 128 bytes, two below 16 KiB.
    if framed[1] < 0x80:
        return framed[2:]
    if framed[2] < 0x80:
        return framed[3:]
    at = 3
    while framed[at] >= 0x80:
        at += 1
    return framed[at + 1 :]


def pack(live: Live) -> bytes:
    """A version as a value of family CURRENT."""
    return frame(live.kv)


def unpack(framed: bytes) -> Live:
    """The version in a value of family CURRENT."""
    return parse(kv_of(framed))


def parse(kv: bytes) -> Live:
    """An encoded KeyValue with its numbers."""
    read = _parse(kv)
    numbers = (read.create_revision, read.mod_revision, read.version, read.lease, kv)
    return _tuple(Live, numbers)


def key_of(kv: bytes) -> bytes:
    """The user key of an encoded KeyValue (its first field); empty for an empty one, by which etcd
    marks a bumped revision.
    """
    if not kv:
        return b""
    if kv[0] != 0x0A:
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
    """The KeyValue of a DELETE event: key and revision of the deletion. With revision 0, that of a
    stored tombstone: the key alone.
    """
    if not mod_revision:
        return b"\x0a%b%b" % (varint(len(key)), key)
    return b"\x0a%b%b\x18%b" % (varint(len(key)), key, varint(mod_revision))
