"""Counts of store operations of one member since its start, as etcd counts them."""


class Counts:
    """Plain integers, for the metrics."""

    __slots__ = ("deletes", "put_bytes", "puts", "ranges", "txns")

    def __init__(self) -> None:
        self.puts = 0
        #: Bytes of keys and values that were put.
        self.put_bytes = 0
        #: Deletions of a key or an interval.
        self.deletes = 0
        self.ranges = 0
        #: Txns of more than one of these operations.
        self.txns = 0

    @property
    def operations(self) -> int:
        """Number of puts, deletes and ranges."""
        return self.puts + self.deletes + self.ranges

    def read_txn(self, ranges: int) -> None:
        """Count a txn that only reads."""
        before = self.operations
        self.ranges += ranges
        self.end_txn(before)

    def end_txn(self, before: int) -> None:
        """Count a txn that began at `before` operations, if it had more than one."""
        if self.operations - before > 1:
            self.txns += 1
