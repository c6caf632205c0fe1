"""An atomic group of writes."""

from rusd.storage.family import Family


class RangeEnd(bytes):
    """Exclusive end of a deleted interval; takes the place of a value."""

    __slots__ = ()


#: (family, key, value); a value of None deletes, `RangeEnd` deletes an interval.
Operation = tuple[Family, bytes, bytes | None]


class Batch:
    """Writes in order; the last write of a key wins."""

    __slots__ = ("intervals", "large", "operations")

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        #: True if an operation has a `RangeEnd`, which is rare.
        self.intervals = False
        #: True if a value has so many bytes that it matters how often it is copied.
        self.large = False

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
        self.intervals = self.large = False

    def in_order_of_size(self) -> list[Operation]:
        """The operations with large values last, if the order makes no difference.

        RocksDB's buffer of a batch doubles when it is full, which copies what it holds: with both
        copies of a version at the end, one of them, once.
        """
        operations = self.operations
        keys = {(family, key) for family, key, _ in operations}
        if self.intervals or len(keys) < len(operations):
            return operations
        return sorted(operations, key=_value_size)

    def __len__(self) -> int:
        return len(self.operations)


def _value_size(operation: Operation) -> int:
    return len(operation[2] or b"")
