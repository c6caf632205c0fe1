"""The stored log position: the last entry whose effects the database contains."""

import struct

from rusd.raft.ports import Position
from rusd.storage import Batch, Engine, Family

_KEY = b"raft/positions"
#: Index and term of the last applied entry, index and term of the entry before it.
_RECORD = struct.Struct(">4Q")
#: Position of an empty state: PySyncObj's log begins with a sentinel at index 1, term 0.
_EMPTY = Position(1, 0)


class Positions:
    """Positions of the last applied entry and of its predecessor, in memory and in META."""

    __slots__ = ("applied", "before")

    def __init__(self) -> None:
        self.applied = self.before = _EMPTY

    def load(self, engine: Engine) -> None:
        """Read the stored positions; those of an empty state if absent. Raises StorageError."""
        self.applied = self.before = _EMPTY
        stored = engine.get(Family.META, _KEY)
        if stored is not None:
            index, term, index_before, term_before = _RECORD.unpack(stored)
            self.applied = Position(index, term)
            self.before = Position(index_before, term_before)


def store(batch: Batch, applied: Position, before: Position) -> None:
    """Add the positions to the write that contains the effects of those entries."""
    batch.put(Family.META, _KEY, _RECORD.pack(*applied, *before))
