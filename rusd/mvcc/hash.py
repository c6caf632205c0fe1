"""Checksums by which members compare their stores.

HashKV is etcd's: CRC-32C over the bucket name and every stored version up to a revision, without
the versions that a compaction removes, so that members agree whatever their removal has reached.

Before it removes versions, a compaction takes one more hash (`hash_of_compaction`): of all versions
up to the compact revision, those to be removed included, but not those that earlier compactions
removed. As in etcd, it is HashKV's result for that revision from then on (`CompactionHashes`), so
members that compacted alike agree at any later time. It is not stored: a restart loses it.
"""

from collections.abc import Generator
from itertools import chain
from typing import NamedTuple

import google_crc32c

from rusd.mvcc.compaction import superseding_keys
from rusd.mvcc.revision import (
    LAST_SUB,
    REVISION_SIZE,
    index_key,
    index_prefix,
    parse_index_key,
    parse_revision_key,
    revision_key,
    revision_key_of,
)
from rusd.storage import Cursor, Engine, Family
from rusd.wire.keyvalue import key_of

#: Rows between two yields.
SLICE = 500
#: Number of compaction hashes kept (etcd's hashStorageMaxSize).
MAX_HASHES = 10

_NEVER_EQUAL = (b"raft/", b"size")


class HashResult(NamedTuple):
    """A HashKV and the revisions it covers."""

    hash: int
    compact_revision: int
    hash_revision: int


class CompactionHashes:
    """The hashes of the newest compactions."""

    def __init__(self) -> None:
        self._hashes: dict[int, HashResult] = {}

    def get(self, revision: int) -> HashResult | None:
        """Returns the hash of the compaction to `revision`, or None if absent."""
        return self._hashes.get(revision)

    def add(self, found: HashResult) -> None:
        """Add a hash and drop the oldest, if there are too many."""
        self._hashes[found.hash_revision] = found
        if len(self._hashes) > MAX_HASHES:
            del self._hashes[min(self._hashes)]


def hash_kv(
    engine: Engine, revision: int, compact_revision: int
) -> Generator[None, None, HashResult]:
    """Returns the CRC-32C of the versions readable at `revision`, in slices.

    If no key is live at `revision`, etcd leaves out only a tombstone at the compact revision:
    versions that the compaction kept count although they were deleted since.
    """
    extend = google_crc32c.extend
    checksum = all_kept = extend(0, b"key")
    live = False
    # Created together, so both see one state, whatever is written between slices.
    rows = engine.cursor(Family.KEY, b"", revision_key(max(revision + 1, 0)))
    versions = engine.cursor(Family.INDEX, b"", None)
    while part := rows.pairs(SLICE):
        for key, kv in part:
            main, sub, tombstone = parse_revision_key(key)
            if main <= compact_revision:
                if tombstone:
                    continue
                if not _newest(versions, kv, main, sub, revision):
                    if not live and _newest(versions, kv, main, sub, compact_revision):
                        all_kept = extend(extend(all_kept, key), kv)
                    continue
                live = True
            elif not live and all_kept != checksum:
                live = not tombstone and _newest(versions, kv, main, sub, revision)
            checksum = extend(extend(checksum, key), kv)
            if not live:
                all_kept = extend(extend(all_kept, key), kv)
        yield
    return HashResult(checksum if live else all_kept, compact_revision, revision)


def hash_of_compaction(
    engine: Engine, previous: int, target: int
) -> Generator[None, None, HashResult]:
    """Returns the hash that etcd takes while compacting from `previous` to `target`, in slices.

    The versions that `previous` supersedes must be removed, those that `target` supersedes not.
    """
    superseded: set[bytes] = set()
    for keys in superseding_keys(engine, previous + 1, target) if previous > 0 else ():
        yield from _kept_before(engine, keys, previous, superseded)
        yield
    extend = google_crc32c.extend
    checksum = extend(0, b"key")
    position, end = b"", revision_key(target + 1)
    last = revision_key(previous + 1)
    while part := engine.cursor(Family.KEY, position, end).pairs(SLICE):
        position = part[-1][0] + b"\0"
        if part[0][0] < last:
            part = [
                row
                for row in part
                if row[0] >= last or (len(row[0]) == REVISION_SIZE and row[0] not in superseded)
            ]
        checksum = extend(checksum, b"".join(chain.from_iterable(part)))
        yield
    return HashResult(checksum, previous, target)


def _kept_before(
    engine: Engine, keys: list[bytes], previous: int, found: set[bytes]
) -> Generator[None, None, None]:
    """Add to `found` the revision keys of the remaining versions of `keys` (sorted) up to revision
    `previous`: at most one put of each key.
    """
    index = engine.cursor(Family.INDEX, b"", None)
    for number, key in enumerate(keys, 1):
        prefix = index_prefix(key)
        for row, _ in index.between(prefix, index_key(prefix, previous + 1, 0), SLICE):
            found.add(revision_key_of(row))
        if not number % SLICE:
            yield


def _newest(versions: Cursor, kv: bytes, main: int, sub: int, revision: int) -> bool:
    """True if (main, sub) is the newest version of its key at `revision`."""
    prefix = index_prefix(key_of(kv))
    last = versions.at_or_before(index_key(prefix, revision, LAST_SUB))
    return last is not None and parse_index_key(last[0]) == (prefix, main, sub)


def hash_everything(engine: Engine, revision: int) -> Generator[None, None, int]:
    """CRC-32C of all families but what differs among members by nature, in slices.

    Leaves out the rows beyond the committed `revision`, which an unfinished apply spilled.
    """
    extend = google_crc32c.extend
    checksum = 0
    # Created together, so all see one state.
    ends = {Family.KEY: revision_key(revision + 1)}
    cursors = [(family, engine.cursor(family, b"", ends.get(family))) for family in Family]
    for family, rows in cursors:
        checksum = extend(checksum, family.value.encode())
        while part := rows.pairs(SLICE):
            for key, value in part:
                if family is Family.META and key.startswith(_NEVER_EQUAL):
                    continue
                if family is Family.INDEX and parse_index_key(key)[1] > revision:
                    continue
                checksum = extend(extend(checksum, key), value)
            yield
    return checksum
