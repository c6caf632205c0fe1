"""Checksums by which members compare their stores.

HashKV is etcd's: CRC-32C over the bucket name and every stored version readable at a revision,
leaving out what a compaction removes, so that members agree whatever their removal has reached.
"""

from collections.abc import Generator
from typing import NamedTuple

import google_crc32c

from rusd.mvcc.keyvalue import key_of
from rusd.mvcc.revision import index_key, index_prefix, parse_index_key, parse_revision_key
from rusd.storage import Engine, Family

SLICE = 2000

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
    for count, (key, kv) in enumerate(engine.scan(Family.KEY, b"", None), 1):
        if not count % SLICE:
            yield
        main, sub, tombstone = parse_revision_key(key)
        if main > revision:
            break
        if main <= compact_revision and (tombstone or not _newest(engine, kv, main, sub, revision)):
            continue
        checksum = extend(extend(checksum, key), kv)
    return HashResult(checksum, compact_revision, revision)


def _newest(engine: Engine, kv: bytes, main: int, sub: int, revision: int) -> bool:
    """True if (main, sub) is the newest version of its key at `revision`."""
    prefix = index_prefix(key_of(kv))
    last = engine.last_before(Family.INDEX, prefix, index_key(prefix, revision + 1, 0))
    return last is not None and parse_index_key(last[0])[1:] == (main, sub)


def hash_everything(engine: Engine) -> Generator[None, None, int]:
    """CRC-32C of all families but what differs among members by nature, in slices."""
    extend = google_crc32c.extend
    checksum, count = 0, 0
    for family in Family:
        checksum = extend(checksum, family.value.encode())
        for key, value in engine.scan(family, b"", None):
            if family is Family.META and key.startswith(_NEVER_EQUAL):
                continue
            checksum = extend(extend(checksum, key), value)
            count += 1
            if not count % SLICE:
                yield
    return checksum
