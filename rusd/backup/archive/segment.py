"""The bytes of a segment.

    segment = magic "rusdlog1" | record of the backup's name | a record of each entry | SHA-256
    record  = length u32 | CRC-32 u32 | body                                   (little endian)
    entry   = index u64 | term u64 | command, as Raft's log has it

`length` and the CRC are those of the body; the SHA-256 covers all bytes before it.
"""

import struct
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Final
from zlib import crc32

from rusd.backup.errors import SnapshotError
from rusd.raft.ports import LogEntry

_MAGIC: Final = b"rusdlog1"
_DIGEST: Final = 32
_RECORD: Final = struct.Struct("<II")
_ENTRY: Final = struct.Struct("<QQ")
#: Bytes joined, and hashed, at once.
PIECE: Final = 1 << 20


def pieces(backup: str, entries: Iterable[LogEntry]) -> Iterator[bytes]:
    """Yield the bytes of a segment of the backup with this name, in large pieces."""
    digest = sha256()
    parts = [_MAGIC, *_record(backup.encode())]
    size = 0
    for command, index, term in entries:
        parts += _record(_ENTRY.pack(index, term), command)
        size += len(command)
        if size >= PIECE:
            piece = b"".join(parts)
            digest.update(piece)
            yield piece
            parts, size = [], 0
    piece = b"".join(parts)
    digest.update(piece)
    yield piece + digest.digest()


def _record(head: bytes, rest: bytes = b"") -> tuple[bytes, bytes, bytes]:
    return _RECORD.pack(len(head) + len(rest), crc32(rest, crc32(head))), head, rest


def entries(data: memoryview, backup: str) -> Iterator[LogEntry]:
    """Yield the entries of a segment of the backup with this name, after a look at its SHA-256.

    Raises SnapshotError for a file that is not whole, or of another backup.
    """
    end = len(data) - _DIGEST
    if end < len(_MAGIC) or bytes(data[: len(_MAGIC)]) != _MAGIC:
        raise SnapshotError("no segment of an archive")
    digest = sha256()
    for start in range(0, end, PIECE):
        digest.update(data[start : min(start + PIECE, end)])
    if digest.digest() != bytes(data[end:]):
        raise SnapshotError("its SHA-256 differs: damaged, or a part is missing")
    records = _records(data[len(_MAGIC) : end])
    if bytes(next(records, b"")) != backup.encode():
        raise SnapshotError("of another backup than its name says")
    for body in records:
        if len(body) < _ENTRY.size:
            raise SnapshotError("damaged: an entry is too short")
        index, term = _ENTRY.unpack_from(body)
        yield bytes(body[_ENTRY.size :]), index, term


def _records(data: memoryview) -> Iterator[memoryview]:
    at = 0
    while at < len(data):
        if len(data) - at < _RECORD.size:
            raise SnapshotError("damaged: it ends within a record")
        length, crc = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        body = data[at : at + length]
        if len(body) != length or crc32(body) != crc:
            raise SnapshotError("damaged: a record does not have its checksum")
        yield body
        at += length
