"""The encoding of log entries: one command, with its requests.

    command = type u8 | body
    type 0  msgpack list of (origin member, sequence number, payload): one or more requests
            0xC1 | the same with one request: a ConfChange
    type 1  a no-op: a new leader's first entry, or a stand-in

The types are PySyncObj's; entries with others are never accepted.
"""

from collections.abc import Iterable, Sequence

import msgspec

from rusd.raft.ports import CONF_CHANGE

REGULAR = b"\x00"
NO_OP = b"\x01"
#: Stands in the log for an entry that only a snapshot holds. It has the index and term of that
#: entry, so logs can be compared at it, and not its command: it must never be sent.
STAND_IN = NO_OP + b"snapshot"

#: Between type and requests of a ConfChange; msgpack never uses this byte.
_CONF_CHANGE_MARK = b"\xc1"

#: (origin member id, sequence number, payload): one request as it stands in an entry.
Proposed = tuple[int, int, bytes]

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[tuple[int, int, bytes]]).decode


def encode_entry(requests: Sequence[Proposed]) -> bytes:
    """Returns the command of one log entry."""
    return REGULAR + _encode(requests)


def encode_conf_change(request: Proposed) -> bytes:
    """Returns the command of an entry that changes the membership."""
    return REGULAR + _CONF_CHANGE_MARK + _encode([request])


def has_requests(command: bytes) -> bool:
    """Return whether an entry has requests; a no-op has none."""
    return command[:1] == REGULAR


def is_conf_change(command: bytes) -> bool:
    """Return whether an entry changes the membership."""
    return command[:2] == REGULAR + _CONF_CHANGE_MARK


def decode_entry(command: bytes) -> list[Proposed]:
    """Returns the requests of a log entry; a no-op has none."""
    if not has_requests(command):
        return []
    return _decode(memoryview(command)[2 if is_conf_change(command) else 1 :])


def split_conf_changes(requests: Iterable[Proposed]) -> tuple[list[Proposed], list[Proposed]]:
    """Returns (other requests, ConfChanges)."""
    others: list[Proposed] = []
    changes: list[Proposed] = []
    for request in requests:
        (changes if request[2] and request[2][0] >= CONF_CHANGE else others).append(request)
    return others, changes
