"""One segment to its records.

A frame is a length (u64, little endian) and a record, padded to 8 bytes. The lower 56 bits of the
length are the size of the record; if the highest bit is set, bits 56 to 58 are the number of
padding bytes. A record has a type, a checksum and data. The checksum is the CRC-32C of the data of
all records so far: a checksum record begins each segment with that of the segment before. Zeros
follow the last record, as etcd allocates a segment in advance.

The end of the log is where the zeros begin, or a record that a crash left in part: a page of it is
zero, or the file ends within it. What looks like the end and has records behind it is damage.
"""

import re
import struct
from collections.abc import Generator
from typing import Final, NamedTuple

import google_crc32c

from rusd.etcd_wal.errors import WalError
from rusd.etcd_wal.fields import read_fields, read_varint

METADATA: Final = 1
ENTRY: Final = 2
STATE: Final = 3
CHECKSUM: Final = 4
SNAPSHOT: Final = 5

_LENGTH: Final = struct.Struct("<Q")
_SIZE_MASK: Final = (1 << 56) - 1
_PADDED: Final = 1 << 63
#: Bytes that a disk writes as a whole.
_SECTOR: Final = 512
#: Bytes of a record before its data, at most: three tags, type, checksum, size of the data.
_HEAD: Final = 24
#: Bytes that are looked through at once for zeros.
_BLOCK: Final = 1 << 20
_ZEROS: Final = bytes(_BLOCK)
_BEGIN: Final = re.compile(rb"\x08[\x01-\x05]\x10")


class Segment(NamedTuple):
    """One file of the log."""

    name: str
    data: memoryview


class Record(NamedTuple):
    """One record; `start` is the position of its frame in the segment."""

    type: int
    data: bytes
    start: int


class _Frame(NamedTuple):
    """Where the record of a frame lies."""

    begin: int
    end: int
    #: Position of the next frame.
    next: int


def read_records(segment: Segment, checksum: int, *, is_last: bool) -> Generator[Record, None, int]:
    """Yield the records; return the checksum after the last of them. Raises WalError.

    `checksum`: that of the segment before; 0 if there is none.
    """
    at = 0
    while True:
        frame = _frame(segment, at, is_last=is_last)
        if frame is None:
            return checksum
        body = bytes(segment.data[frame.begin : frame.end])
        try:
            kind, expected, data = _decode(body)
            if kind == CHECKSUM:
                if data or (checksum and checksum != expected):
                    raise ValueError("checksum of the segment before does not match")
                checksum = expected
            else:
                checksum = google_crc32c.extend(checksum, data)
                if checksum != expected:
                    raise ValueError("checksum mismatch")
        except ValueError as error:
            if is_last and _is_torn(segment.data, frame):
                _refuse_records_behind(segment, at, frame.begin)
                return checksum
            raise _damaged(segment, at, str(error)) from error
        if (at == 0) != (kind == CHECKSUM):
            raise _damaged(segment, at, f"record of type {kind}")
        yield Record(kind, data, at)
        at = frame.next


def record_at(segment: Segment, at: int) -> Record:
    """Return a record that `read_records` yielded. Raises WalError."""
    frame = _frame(segment, at, is_last=True)
    if frame is None:
        raise _damaged(segment, at, "the record has gone")
    kind, _, data = _decode(bytes(segment.data[frame.begin : frame.end]))
    return Record(kind, data, at)


def _frame(segment: Segment, at: int, *, is_last: bool) -> _Frame | None:
    """Return the frame at a position, None at the end of the records. Raises WalError."""
    data = segment.data
    left = len(data) - at
    if left < _LENGTH.size:
        if left and not is_last:
            raise _damaged(segment, at, "the file was cut")
        return None
    (length,) = _LENGTH.unpack_from(data, at)
    begin = at + _LENGTH.size
    if length == 0:
        _refuse_records_behind(segment, at, begin)
        return None
    size = length & _SIZE_MASK
    padding = length >> 56 & 7 if length & _PADDED else 0
    if size + padding > left - _LENGTH.size:
        # A write never leaves a wrong length: it lies in one sector.
        if not is_last or not _is_cut(data[begin:], size):
            raise _damaged(segment, at, "a record reaches out of the file")
        return None
    if (size + padding) % 8:
        raise _damaged(segment, at, "a record of a wrong length")
    return _Frame(begin, begin + size, begin + size + padding)


def _decode(body: bytes) -> tuple[int, int, bytes]:
    """Return type, checksum and data of a record. Raises ValueError."""
    fields = read_fields(body)
    kind, checksum, data = fields.get(1), fields.get(2), fields.get(3, b"")
    if not isinstance(kind, int) or not isinstance(checksum, int) or not isinstance(data, bytes):
        raise ValueError("not a record")
    if fields.keys() - {1, 2, 3} or checksum >= 1 << 32:
        raise ValueError("not a record")
    return kind, checksum, data


def _size_said(head: bytes) -> int | None:
    """Return the size of the record that begins with `head`, as its fields say; None if they do
    not.
    """
    try:
        if not _BEGIN.match(head):
            return None
        _, at = read_varint(head, 3)
        if head[at : at + 1] != b"\x1a":
            return at
        size, at = read_varint(head, at + 1)
        return at + size
    except ValueError:
        return None


def _is_cut(rest: memoryview, size: int) -> bool:
    """Return whether the file ends within a record of `size` bytes."""
    return len(rest) < _HEAD or _size_said(bytes(rest[:_HEAD])) == size


def _is_torn(data: memoryview, frame: _Frame) -> bool:
    """Return whether a sector of the frame was never written (as etcd decides it).

    Where the beginning was, it tells the length: a frame of another length is damaged.
    """
    at = frame.begin
    head = bytes(data[at : min(at + _HEAD, frame.end)])
    written = _SECTOR - at % _SECTOR
    if _size_said(head) != frame.end - at and (written >= _HEAD or any(head[written:])):
        return False
    while at < frame.next:
        end = min(frame.next, at - at % _SECTOR + _SECTOR)
        if not any(data[at:end]):
            return True
        at = end
    return False


def _written(data: memoryview) -> int:
    """Return the end of what is not zero."""
    # (In blocks: a sparse file may be larger than the memory.)
    end = len(data)
    while end:
        block = bytes(data[max(end - _BLOCK, 0) : end])
        end -= len(block)
        if block != _ZEROS[: len(block)]:
            return end + len(block.rstrip(b"\0"))
    return 0


def _refuse_records_behind(segment: Segment, at: int, begin: int) -> None:
    """Raise WalError if records follow what looks like the end of them, at `at`."""
    rest = bytes(segment.data[begin : _written(segment.data)])
    for match in _BEGIN.finditer(rest):
        start = match.start()
        if start % 8:
            continue
        said = _size_said(rest[start : start + _HEAD])
        if start == 0:
            # The length of this one is what was damaged.
            found = said is not None
            found = found and not _LENGTH.unpack_from(segment.data, at)[0]
        else:
            (length,) = _LENGTH.unpack_from(rest, start - _LENGTH.size)
            found = said == length & _SIZE_MASK
        if found:
            raise _damaged(segment, at, "a gap with records behind it")


def _damaged(segment: Segment, at: int, what: str) -> WalError:
    return WalError(f"{segment.name}: damaged at {at}: {what}")
