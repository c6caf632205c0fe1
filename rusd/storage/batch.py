"""An atomic group of writes."""

from rusd.storage.family import Family


class Batch:
    """Writes collected in order; a later write of the same key wins."""

    __slots__ = ("operations",)

    def __init__(self) -> None:
        #: (family, key, value); a value of None deletes.
        self.operations: list[tuple[Family, bytes, bytes | None]] = []

    def put(self, family: Family, key: bytes, value: bytes) -> None:
        self.operations.append((family, key, value))

    def delete(self, family: Family, key: bytes) -> None:
        self.operations.append((family, key, None))

    def clear(self) -> None:
        self.operations.clear()

    def __len__(self) -> int:
        return len(self.operations)
