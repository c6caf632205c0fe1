"""The journal's record format: encoding and decoding, without files.

    record = magic "rusj" | length u32 | CRC-32 u32 | flush u64 | kind u8 | body     (little endian)

`length` counts the body; the CRC covers flush, kind and body. `flush` is the number of the flush
(one write and one fdatasync) the record belongs to; the first record of a flush has bit 7 of kind
set. A flush begins only after the one before it is durable, so behind a damaged record a whole
record of the same flush can be a torn write, but the *first* record of a later flush proves that
durable bytes were damaged. Flush numbers have no gaps, so a lost stretch shows even where the
records on both sides of it are whole.

The CRC starts from a seed that only this journal knows: a client that stores the bytes of a record
as its value could otherwise make a torn write look like damage.
"""

import struct
import zlib
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

MAGIC = b"rusj"
_BEGIN = struct.Struct("<4sII")
_COVERED = struct.Struct("<QB")
_HEADER = struct.Struct(_BEGIN.format + _COVERED.format[1:])
_ENTRY = struct.Struct("<QQ")
_INDEX = struct.Struct("<Q")
_FIRST = 0x80
_ZEROS = bytes(1 << 16)


class Kind(IntEnum):
    """The type of a record."""

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
    #: Where it begins, and where the next one does.
    offset: int
    end: int


class Damaged(NamedTuple):
    """The position at which reading stopped, and whether later durable bytes prove corruption."""

    offset: int
    corrupt: bool


def encode(
    kind: Kind, flush: int, first: bool, seed: int, head: bytes, rest: bytes = b""
) -> tuple[bytes, bytes]:
    """Encode a record whose body is `head` and `rest`, in two parts: the second is `rest`, which
    may be large and is not copied. `seed` starts the checksums of this journal.
    """
    covered = _COVERED.pack(flush, kind | _FIRST if first else kind) + head
    checksum = zlib.crc32(rest, zlib.crc32(covered, seed))
    return _BEGIN.pack(MAGIC, len(head) + len(rest), checksum) + covered, rest


def entry_head(index: int, term: int) -> bytes:
    """Encode the beginning of the body of an ENTRY record; the command follows."""
    return _ENTRY.pack(index, term)


def parse_entry(body: bytes) -> tuple[bytes, int, int]:
    """Decode (command, index, term), in PySyncObj's order."""
    index, term = _ENTRY.unpack_from(body)
    return body[_ENTRY.size :], index, term


def hard_state(term: int, vote: str) -> bytes:
    """Encode term and vote."""
    return _INDEX.pack(term) + vote.encode()


def parse_hard_state(body: bytes) -> tuple[int, str]:
    """Decode term and vote."""
    (term,) = _INDEX.unpack_from(body)
    return term, body[_INDEX.size :].decode()


def index(number: int) -> bytes:
    """Encode a log index."""
    return _INDEX.pack(number)


def parse_index(body: bytes) -> int:
    """Decode a log index."""
    number: int = _INDEX.unpack(body)[0]
    return number


def read(data: bytes, flush: int | None, seed: int) -> Iterator[Record | Damaged]:
    """Yield the records of one segment; a `Damaged` comes last where they become invalid. `flush`:
    the last flush of the preceding segment (None if that was removed); `seed`: the journal's.

    Zeros up to the end are space reserved for later records, not damage.
    """
    offset = 0
    while True:
        record = _record_at(data, offset, seed)
        if record is None or not _follows(record, flush):
            if written(data) > offset:
                yield Damaged(offset, _later_flush(data, offset, flush, seed))
            return
        flush = record.flush
        yield record
        offset = record.end


def written(data: bytes) -> int:
    """Return the offset behind the last byte that is not zero.

    (In blocks: `rstrip` takes 40 ms for the reserved space of one segment.)
    """
    end = len(data)
    while end:
        block = data[max(end - len(_ZEROS), 0) : end]
        end -= len(block)
        if block != _ZEROS[: len(block)]:
            return end + len(block.rstrip(b"\0"))
    return 0


def _follows(record: Record, flush: int | None) -> bool:
    """True if nothing is missing between flush `flush` and the record."""
    if flush is None:
        return record.first  # a segment begins with a flush
    return record.flush == (flush + 1 if record.first else flush)


def _record_at(data: bytes, offset: int, seed: int) -> Record | None:
    if len(data) - offset < _HEADER.size:
        return None
    magic, length, checksum, flush, kind = _HEADER.unpack_from(data, offset)
    start = offset + _HEADER.size
    if magic != MAGIC or len(data) - start < length:
        return None
    body = data[start : start + length]
    if zlib.crc32(body, zlib.crc32(_COVERED.pack(flush, kind), seed)) != checksum:
        return None
    return Record(kind & ~_FIRST, body, flush, bool(kind & _FIRST), offset, start + length)


def _later_flush(data: bytes, offset: int, flush: int | None, seed: int) -> bool:
    """True if a flush begins behind `offset`, where the bytes are damaged: what they held (of
    flush `flush`, the last one seen, or of the next) was durable before that one was written.
    """
    at = data.find(MAGIC, offset)
    while at >= 0:
        record = _record_at(data, at, seed)
        if record is not None and record.first and record.flush > (flush or 0):
            return True
        at = data.find(MAGIC, at + 1)
    return False
