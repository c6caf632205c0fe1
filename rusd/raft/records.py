"""The journal's bytes: records in, records out; no files here.

    record = magic "rusj" | length u32 | CRC-32 u32 | flush u64 | kind u8 | body     (little endian)

`length` counts the body; the CRC covers flush, kind and body. `flush` is the number of the flush
(one write and one fdatasync) the record belongs to; the first record of a flush has bit 7 of kind
set. A flush begins only after the one before it is durable, so behind a damaged record a whole
record of the same flush can be a torn write, but the *first* record of a later flush proves that
durable bytes were damaged.
"""

import struct
import zlib
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

MAGIC = b"rusj"
_HEADER = struct.Struct("<4sIIQB")
_COVERED = struct.Struct("<QB")
_ENTRY = struct.Struct("<QQ")
_INDEX = struct.Struct("<Q")
_FIRST = 0x80


class Kind(IntEnum):
    """What a record says."""

    ENTRY = 1  # index, term, command
    HARD_STATE = 2  # current term, id of the member voted for in it (empty: none)
    TRUNCATE = 3  # entries from this index on are gone
    BASE = 4  # entries below this index are gone
    CLEAR = 5  # all entries are gone (a snapshot replaces them)


class Record(NamedTuple):
    """One decoded record."""

    kind: int
    body: bytes
    flush: int
    #: True for the first record of its flush.
    first: bool


class Damaged(NamedTuple):
    """Where reading stopped, and whether durable bytes behind it prove corruption."""

    offset: int
    corrupt: bool


def encode(kind: Kind, body: bytes, flush: int, first: bool) -> bytes:
    marked = kind | _FIRST if first else int(kind)
    checksum = zlib.crc32(body, zlib.crc32(_COVERED.pack(flush, marked)))
    return _HEADER.pack(MAGIC, len(body), checksum, flush, marked) + body


def entry(index: int, term: int, command: bytes) -> bytes:
    return _ENTRY.pack(index, term) + command


def parse_entry(body: bytes) -> tuple[bytes, int, int]:
    """(command, index, term): PySyncObj's order."""
    index, term = _ENTRY.unpack_from(body)
    return body[_ENTRY.size :], index, term


def hard_state(term: int, vote: str) -> bytes:
    return _INDEX.pack(term) + vote.encode()


def parse_hard_state(body: bytes) -> tuple[int, str]:
    (term,) = _INDEX.unpack_from(body)
    return term, body[_INDEX.size :].decode()


def index(number: int) -> bytes:
    return _INDEX.pack(number)


def parse_index(body: bytes) -> int:
    number: int = _INDEX.unpack(body)[0]
    return number


def read(data: bytes, flush: int) -> Iterator[Record | Damaged]:
    """The records of one segment, `flush` being the last flush of the segment before it; a
    `Damaged` comes last where the bytes stop making sense.

    Zeros up to the end are space reserved for later records, not damage.
    """
    offset = 0
    while True:
        record, size = _record_at(data, offset)
        if record is None or record.flush < flush:
            if data[offset:].strip(b"\0"):
                yield Damaged(offset, _later_flush(data, offset, flush))
            return
        flush = record.flush
        yield record
        offset += size


def used(data: bytes) -> int:
    """Bytes of whole records at the start of a segment."""
    offset = 0
    while True:
        record, size = _record_at(data, offset)
        if record is None:
            return offset
        offset += size


def _record_at(data: bytes, offset: int) -> tuple[Record | None, int]:
    if len(data) - offset < _HEADER.size:
        return None, 0
    magic, length, checksum, flush, kind = _HEADER.unpack_from(data, offset)
    start = offset + _HEADER.size
    if magic != MAGIC or len(data) - start < length:
        return None, 0
    body = data[start : start + length]
    if zlib.crc32(body, zlib.crc32(_COVERED.pack(flush, kind))) != checksum:
        return None, 0
    return Record(kind & ~_FIRST, body, flush, bool(kind & _FIRST)), _HEADER.size + length


def _later_flush(data: bytes, offset: int, flush: int) -> bool:
    """True if a flush begins behind `offset`, where bytes of a flush after `flush` (the last one
    seen whole) are damaged: it was written only after they were durable."""
    at = data.find(MAGIC, offset)
    while at >= 0:
        record, _ = _record_at(data, at)
        if record is not None and record.flush > flush and record.first:
            return True
        at = data.find(MAGIC, at + 1)
    return False
