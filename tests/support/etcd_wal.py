"""Segments of etcd's write-ahead log, made by hand."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import google_crc32c

from rusd.etcd_wal import Segment
from rusd.wire.keyvalue import varint

ENTRY, STATE, CHECKSUM, SNAPSHOT = 2, 3, 4, 5
METADATA = 1
NODE = b"\x08\x07\x10\x09"


def numbers(*values: int) -> bytes:
    """Encode fields 1, 2, … as numbers."""
    return b"".join(bytes((n << 3,)) + varint(value) for n, value in enumerate(values, 1))


def field(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def entry(index: int, term: int, data: bytes = b"", kind: int = 0) -> tuple[int, bytes]:
    return ENTRY, numbers(kind, term, index) + (field(4, data) if data else b"")


def state(term: int, commit: int, vote: int = 7) -> tuple[int, bytes]:
    return STATE, numbers(term, vote, commit)


def snapshot(index: int, term: int) -> tuple[int, bytes]:
    return SNAPSHOT, numbers(index, term)


def frame(kind: int, checksum: int, data: bytes) -> bytes:
    record = numbers(kind, checksum) + (field(3, data) if data else b"")
    padding = -len(record) % 8
    length = len(record) | ((0x80 | padding) << 56 if padding else 0)
    return struct.pack("<Q", length) + record + b"\0" * padding


def segments(*parts: Sequence[tuple[int, bytes]], zeros: int = 1024) -> list[Segment]:
    """One segment for each part, as etcd begins it, with zeros behind."""
    made, checksum = [], 0
    for number, part in enumerate(parts):
        frames = [frame(CHECKSUM, checksum, b"")]
        for kind, data in [(METADATA, NODE), *part]:
            checksum = google_crc32c.extend(checksum, data)
            frames.append(frame(kind, checksum, data))
        content = b"".join(frames) + b"\0" * zeros
        made.append(Segment(f"{number}.wal", memoryview(content)))
    return made
