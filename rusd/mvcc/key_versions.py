"""The changes of one key that can still be read, newest first.

The family INDEX holds them beside each other, so a page of them costs its own length, however long
the history of the other keys is.
"""

from collections.abc import Callable, Generator
from typing import NamedTuple

from rusd.mvcc.revision import (
    LAST_SUB,
    TOMBSTONE,
    index_key,
    index_prefix,
    parse_index_key,
    revision_key_of,
)
from rusd.proto import kv_pb2
from rusd.storage import Engine, Family

#: Bytes of versions read in one slice, about.
SLICE_BYTES = 1 << 20
_parse = kv_pb2.KeyValue.FromString


class KeyVersion(NamedTuple):
    """One change of a key."""

    revision: int
    #: True for a deletion, whose other fields are 0.
    deleted: bool
    create_revision: int = 0
    version: int = 0
    lease: int = 0
    #: Bytes of the value.
    size: int = 0


def newest(
    engine: Callable[[], Engine],
    key: bytes,
    last: int,
    limit: int,
    compacted: Callable[[], int],
) -> Generator[None, None, tuple[list[KeyVersion], bool]]:
    """Return (the changes of `key` at or below revision `last`, newest first and `limit` at most;
    True if older ones follow), in slices.

    The oldest is the version at the compact revision: its own revision may lie below. `engine` and
    `compacted` are those of the store, which may change between slices; what a compaction has
    removed meanwhile is left out.
    """
    changes, more = _changes(engine(), key, last, limit, compacted())
    found: list[KeyVersion] = []
    read = 0
    for index, deleted in changes:
        main = parse_index_key(index)[1]
        if deleted:
            found.append(KeyVersion(main, deleted=True))
            continue
        encoded = engine().get(Family.KEY, revision_key_of(index))
        if encoded is None:
            return found, False
        kv = _parse(encoded)
        found.append(
            KeyVersion(main, False, kv.create_revision, kv.version, kv.lease, len(kv.value))
        )
        read += len(encoded)
        if read > SLICE_BYTES:
            read = 0
            yield
    return found, more


def _changes(
    engine: Engine, key: bytes, last: int, limit: int, compact_revision: int
) -> tuple[list[tuple[bytes, bool]], bool]:
    """Return ((index key, True for a deletion) of each change; True if older ones follow)."""
    prefix = index_prefix(key)
    cursor = engine.cursor(Family.INDEX, b"", None)
    # (Below the compact revision, only the version at it can be read, if it is as old.)
    first = cursor.at_or_before(index_key(prefix, max(last, compact_revision), LAST_SUB))
    rows = [] if first is None else [first]
    found: list[tuple[bytes, bool]] = []
    while rows:
        for index, mark in rows:
            of, main, _ = parse_index_key(index)
            if of != prefix or (mark == TOMBSTONE and main < compact_revision):
                return found, False
            if len(found) == limit:
                return found, True
            if main <= last:
                found.append((index, mark == TOMBSTONE))
            if main <= compact_revision:
                return found, False
        rows = cursor.pairs(limit + 1)
    return found, False
