"""Refusals of the MVCC store. `rusd/rpc/errors.py` maps them to etcd's errors."""

from rusd.base.errors import Refusal


class Compacted(Refusal):
    """The revision lies below the compact revision (for a compaction: is not above it)."""

    reason = "the required revision has been compacted"


class FutureRevision(Refusal):
    """The revision lies above the newest one."""

    reason = "the required revision is in the future"
