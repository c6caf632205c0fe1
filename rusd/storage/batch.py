"""An atomic group of writes."""

from rusd.storage.family import Family


class RangeEnd(bytes):
    """In place of a value: everything from the key to here (not included) is deleted."""

    __slots__ = ()


#: (family, key, value); a value of None deletes, `RangeEnd` deletes an interval.
Operation = tuple[Family, bytes, bytes | None]


class Batch:
    """Writes collected in order; a later write of the same key wins."""

    __slots__ = ("intervals", "operations")

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        #: Whether there is an `RangeEnd` among them: seldom, and looked for only then.
        self.intervals = False

    def put(self, family: Family, key: bytes, value: bytes) -> None:
        self.operations.append((family, key, value))

    def delete(self, family: Family, key: bytes) -> None:
        self.operations.append((family, key, None))

    def delete_interval(self, family: Family, start: bytes, end: bytes) -> None:
        """Delete every key of [start, end); one write, however many there are."""
        self.operations.append((family, start, RangeEnd(end)))
        self.intervals = True

    def clear(self) -> None:
        self.operations.clear()
        self.intervals = False

    def __len__(self) -> int:
        return len(self.operations)
