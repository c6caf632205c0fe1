"""Port of the state room: the keys that a txn or a check reads."""

from typing import Protocol

from rusd.mvcc.counts import Counts
from rusd.mvcc.ports import Rows
from rusd.mvcc.range_query import RangeResult, Slices
from rusd.proto import rpc_pb2 as rpc
from rusd.wire.keyvalue import Live


class View(Protocol):
    """Keys at one moment: the committed store, a `ReadView`, or a writer between two requests."""

    @property
    def revision(self) -> int:
        """The newest revision."""

    @property
    def compact_revision(self) -> int:
        """Lower revisions cannot be read; -1 before the first compaction."""

    @property
    def counts(self) -> Counts:
        """Operations of the store."""

    def get(self, key: bytes) -> Live | None:
        """Returns the live version of `key`, or None if absent."""

    def rows(self, start: bytes, end: bytes | None) -> Rows:
        """Returns the live keys of [start, end); `end` None is unbounded."""

    def range(self, request: rpc.RangeRequest) -> RangeResult:
        """Evaluates a range at once."""

    def range_slices(self, request: rpc.RangeRequest) -> Slices:
        """Evaluates a range in slices."""
