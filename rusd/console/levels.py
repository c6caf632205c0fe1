"""One level of the tree of keys, as the separator divides it.

The entries of a level are the keys that hold no further separator, and the branches: what keys have
in common up to the next one. A branch costs one search, whatever number of keys is below it: the
search for the next entry begins behind its last key.
"""

import time
from collections.abc import Generator
from typing import NamedTuple

from rusd.mvcc.store import Store
from rusd.wire.keyvalue import key_of, kv_of, parse, value_of

#: Seconds of searching in one slice.
SLICE_SECONDS = 0.004


class Entry(NamedTuple):
    """A key, or a branch of keys."""

    #: The key; of a branch all up to and with the separator.
    name: bytes
    #: (create revision, mod revision, version, lease, bytes of the value); None for a branch.
    key: tuple[int, int, int, int, int] | None


class Level(NamedTuple):
    """A page of a level."""

    entries: list[Entry]
    #: Where the next page begins; None at the end.
    following: bytes | None


def behind(prefix: bytes) -> bytes | None:
    """Return the end of the interval of all keys that begin with `prefix`; None if unbounded."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes((kept[-1] + 1,)) if kept else None


def level(
    store: Store, prefix: bytes, separator: bytes, start: bytes, revision: int, limit: int
) -> Generator[None, None, Level]:
    """Return the entries below `prefix` at `revision`, from `start` on, `limit` at most; in slices.
    An empty separator makes no branches. Raises FutureRevision or Compacted.
    """
    end = behind(prefix)
    position: bytes | None = max(start, prefix)
    entries: list[Entry] = []
    deadline = time.perf_counter() + SLICE_SECONDS
    while position is not None and (end is None or position < end):
        rows = store.rows(position, end, revision)
        while rows.seeks():
            yield
            deadline = time.perf_counter() + SLICE_SECONDS
        found = rows.read(1)
        if not found:
            break
        if len(entries) == limit:
            return Level(entries, position)
        kv = kv_of(found[0])
        key = key_of(kv)
        at = key.find(separator, len(prefix)) if separator else -1
        if at < 0:
            live = parse(kv)
            numbers = live.create_revision, live.mod_revision, live.version, live.lease
            entries.append(Entry(key, (*numbers, len(value_of(kv)))))
            position = key + b"\0"
        else:
            branch = key[: at + len(separator)]
            entries.append(Entry(branch, None))
            position = behind(branch)
        if time.perf_counter() >= deadline:
            yield
            deadline = time.perf_counter() + SLICE_SECONDS
    return Level(entries, None)
