"""Revisions as storage keys, and the key index's order-preserving encoding.

Revision key: 8 bytes big-endian main, `_`, 8 bytes big-endian sub; a tombstone's has `t` appended
(etcd's own format, so that hashes and exported databases agree).

Index key: the user key with each zero byte escaped, a terminator, main and sub. Escaping keeps the
order of user keys also where one is a prefix of another or holds zero bytes.
"""

import struct

_REVISION = struct.Struct(">qcq")
_PAIR = struct.Struct(">qq")
_TERMINATOR = b"\x00\x01"
_ESCAPED_ZERO = b"\x00\xff"

#: Length of a put's revision key; a tombstone's is longer.
REVISION_SIZE = _REVISION.size
TOMBSTONE = b"t"
#: Above every sub-revision.
LAST_SUB = (1 << 63) - 1


def revision_key(main: int, sub: int = 0) -> bytes:
    """Encode a revision as a key of the family KEY."""
    return _REVISION.pack(main, b"_", sub)


def parse_revision_key(key: bytes) -> tuple[int, int, bool]:
    """Returns (main, sub, True for a tombstone)."""
    main, _, sub = _REVISION.unpack_from(key)
    return main, sub, len(key) > _REVISION.size


def index_prefix(key: bytes) -> bytes:
    """Returns the prefix of all index keys of `key`; sorts as `key` does among all keys."""
    if b"\x00" in key:
        key = key.replace(b"\x00", _ESCAPED_ZERO)
    return key + _TERMINATOR


def index_key(prefix: bytes, main: int, sub: int) -> bytes:
    """Encode a key of the family INDEX."""
    return prefix + _PAIR.pack(main, sub)


def parse_index_key(index: bytes) -> tuple[bytes, int, int]:
    """Returns (prefix, main, sub)."""
    main, sub = _PAIR.unpack_from(index, len(index) - _PAIR.size)
    return index[: -_PAIR.size], main, sub


def revision_key_of(index: bytes) -> bytes:
    """Returns the revision key of an index key, without the mark of a tombstone."""
    return b"%b_%b" % (index[-16:-8], index[-8:])
