"""Refusals of the MVCC store. `rusd/rpc/errors.py` maps them to etcd's errors."""

from rusd.base.errors import Refusal


class Compacted(Refusal):
    """The revision is below the compact revision (for a compaction: not above it)."""

    reason = "the required revision has been compacted"


class FutureRevision(Refusal):
    """The revision is above the newest one."""

    reason = "the required revision is in the future"
