"""Ports of the MVCC room: rows of a range, and the committed store as a writer uses it."""

import threading
from collections.abc import Generator
from typing import Protocol

from rusd.mvcc.counts import Counts
from rusd.mvcc.key_counts import KeyCounts
from rusd.mvcc.size import StoreSize
from rusd.storage import Engine
from rusd.wire.keyvalue import Live


class Readable(Protocol):
    """Rows in key order; each is a framed KeyValue (see `rusd/wire/keyvalue.py`)."""

    def seeks(self) -> bool:
        """Search for the next row during one slice.

        Returns True if it is not found yet; `read` searches without slices.
        """

    def read(self, count: int) -> list[bytes]:
        """Returns some of the next rows, `count` at most; none at the end."""


class Rows(Readable, Protocol):
    """The live keys of one interval at one revision that were not read yet."""

    def count(self) -> Generator[None, None, int]:
        """Skip the remaining rows in slices; returns their number."""


class CommittedStore(Protocol):
    """The part of `Store` that a writer reads, and changes at its commit."""

    engine: Engine
    revision: int
    compact_revision: int
    size: StoreSize
    key_counts: KeyCounts
    counts: Counts
    checkpoint_lock: threading.Lock

    def get(self, key: bytes) -> Live | None:
        """Returns the committed live version of `key`, or None if absent."""

    def compacted(self, revision: int) -> None:
        """A compaction to `revision` was written."""
