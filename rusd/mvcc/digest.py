"""Checksums by which members compare their stores.

HashKV is etcd's: CRC-32C over the bucket name and every stored version readable at a revision,
leaving out what a compaction removes, so that members agree whatever their removal has reached.
"""

from collections.abc import Generator
from typing import NamedTuple

import google_crc32c

from rusd.mvcc.keyvalue import key_of
from rusd.mvcc.revision import (
    LAST_SUB,
    index_key,
    index_prefix,
    parse_index_key,
    parse_revision_key,
    revision_key,
)
from rusd.storage import Cursor, Engine, Family

#: Rows between two yields.
SLICE = 500

_NEVER_EQUAL = (b"raft/",)


class HashResult(NamedTuple):
    """A HashKV and what it was taken of."""

    hash: int
    compact_revision: int
    hash_revision: int


def hash_kv(
    engine: Engine, revision: int, compact_revision: int
) -> Generator[None, None, HashResult]:
    """CRC-32C of the versions readable at `revision`, in slices."""
    extend = google_crc32c.extend
    checksum = extend(0, b"key")
    # Made together, so both see one state, whatever is written or removed between slices.
    rows = engine.cursor(Family.KEY, b"", revision_key(revision + 1))
    versions = engine.cursor(Family.INDEX, b"", None)
    while part := rows.pairs(SLICE):
        for key, kv in part:
            main, sub, tombstone = parse_revision_key(key)
            if main <= compact_revision and (
                tombstone or not _newest(versions, kv, main, sub, revision)
            ):
                continue
            checksum = extend(extend(checksum, key), kv)
        yield
    return HashResult(checksum, compact_revision, revision)


def _newest(versions: Cursor, kv: bytes, main: int, sub: int, revision: int) -> bool:
    """True if (main, sub) is the newest version of its key at `revision`."""
    prefix = index_prefix(key_of(kv))
    last = versions.at_or_before(index_key(prefix, revision, LAST_SUB))
    return last is not None and parse_index_key(last[0]) == (prefix, main, sub)


def hash_everything(engine: Engine) -> Generator[None, None, int]:
    """CRC-32C of all families but what differs among members by nature, in slices."""
    extend = google_crc32c.extend
    checksum = 0
    # Made together, so all see one state.
    cursors = [(family, engine.cursor(family, b"", None)) for family in Family]
    for family, rows in cursors:
        checksum = extend(checksum, family.value.encode())
        while part := rows.pairs(SLICE):
            for key, value in part:
                if family is Family.META and key.startswith(_NEVER_EQUAL):
                    continue
                checksum = extend(extend(checksum, key), value)
            yield
    return checksum
