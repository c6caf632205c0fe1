"""The requests in the log of a member that runs or was killed: `… .journal DATA_DIRECTORY`.

Writes to standard output, for each entry of the log: index u64, term u64, length u32, then for each
request of the entry: length u32, one `etcdserverpb.InternalRaftRequest` (little endian). Requests
that do not touch keys or leases are left out. Reads the segments without the lock of the directory.

The whole log is needed. A segment is removed only when every entry in it was compacted away and
later ones are in use: a run of the suite writes less than one (16 MiB), and a log that lacks its
first segment is refused.
"""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Iterable
from pathlib import Path

from rusd.raft.commands import STAND_IN, decode_entry
from rusd.raft.log import records
from rusd.raft.log.records import Damaged
from rusd.state.command import Kind, LeaseExpiry, unsign

#: Bytes of the lock file that the seed of the checksums is drawn from (`raft/log/segments.py`).
_SALT_BYTES = 16
_ENTRY = struct.Struct("<QQI")
_LENGTH = struct.Struct("<I")
#: Field of InternalRaftRequest that holds the body of a proposal.
_FIELDS = {
    Kind.PUT: 4,
    Kind.DELETE_RANGE: 5,
    Kind.TXN: 6,
    Kind.COMPACT: 7,
    Kind.LEASE_GRANT: 8,
    Kind.LEASE_REVOKE: 9,
}


def entries(directory: Path) -> list[tuple[int, int, bytes]]:
    """Return (index, term, command) of the last entry written at each index, in order.

    Raises ValueError if the journal does not reach back to its beginning, or is damaged elsewhere
    than at its end.
    """
    seed = zlib.crc32((directory / "LOCK").read_bytes()[:_SALT_BYTES])
    segments = sorted(directory.glob("*.wal"))
    if not segments or int(segments[0].stem, 16) != 1:
        raise ValueError(f"{directory} lacks its first segment")
    found: dict[int, tuple[int, bytes]] = {}
    flush: int | None = None
    for segment in segments:
        for record in records.read(segment.read_bytes(), flush, seed):
            if isinstance(record, Damaged):
                if record.corrupt or segment != segments[-1]:
                    raise ValueError(f"{segment} is damaged at offset {record.offset}")
                break
            flush = record.flush
            if record.kind == records.Kind.ENTRY:
                command, index, term = records.parse_entry(record.body)
                _add(found, index, term, command)
            elif record.kind == records.Kind.TRUNCATE:
                _truncate(found, records.parse_index(record.body))
    return [(index, term, command) for index, (term, command) in sorted(found.items())]


def _add(found: dict[int, tuple[int, bytes]], index: int, term: int, command: bytes) -> None:
    if command != STAND_IN:
        _truncate(found, index)
        found[index] = (term, command)
        return
    # A snapshot took the place of the log: entries of the same term are older than it.
    _truncate(found, index + 1)
    if index in found and found[index][0] != term:
        del found[index]


def _truncate(found: dict[int, tuple[int, bytes]], first: int) -> None:
    index = first
    while index in found:
        del found[index]
        index += 1


def requests(command: bytes, term: int) -> Iterable[bytes]:
    """Yield the requests of an entry as InternalRaftRequests."""
    for _, _, payload in decode_entry(command):
        inner = payload
        if inner[0] == Kind.SIGNED:
            _, inner = unsign(inner)
        kind, body = Kind(inner[0]), inner[1:]
        if kind == Kind.LEASE_EXPIRE:
            expiry = LeaseExpiry.decode(body)
            if expiry.term != term:
                continue
            # LeaseRevokeRequest.ID is field 1.
            kind, body = Kind.LEASE_REVOKE, b"\x08" + _varint(expiry.lease_id)
        if kind in _FIELDS:
            yield bytes((_FIELDS[kind] << 3 | 2,)) + _varint(len(body)) + body


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*encoded, number))


def main() -> None:
    out = sys.stdout.buffer
    for index, term, command in entries(Path(sys.argv[1]) / "member" / "wal"):
        data = b"".join(_LENGTH.pack(len(request)) + request for request in requests(command, term))
        out.write(_ENTRY.pack(index, term, len(data)) + data)


if __name__ == "__main__":
    main()
