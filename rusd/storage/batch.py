"""An atomic group of writes."""

from rusd.storage.family import Family


class RangeEnd(bytes):
    """Exclusive end of a deleted interval; takes the place of a value."""

    __slots__ = ()


#: (family, key, value); a value of None deletes, `RangeEnd` deletes an interval.
Operation = tuple[Family, bytes, bytes | None]


class Batch:
    """Writes in order; the last write of a key wins."""

    __slots__ = ("intervals", "operations")

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        #: True if an operation has a `RangeEnd`, which is rare.
        self.intervals = False

    def put(self, family: Family, key: bytes, value: bytes) -> None:
        self.operations.append((family, key, value))

    def delete(self, family: Family, key: bytes) -> None:
        self.operations.append((family, key, None))

    def delete_interval(self, family: Family, start: bytes, end: bytes) -> None:
        """Delete every key of [start, end) by one operation."""
        self.operations.append((family, start, RangeEnd(end)))
        self.intervals = True

    def clear(self) -> None:
        self.operations.clear()
        self.intervals = False

    def __len__(self) -> int:
        return len(self.operations)
