"""Refusals of the lease room. `rusd/rpc/errors.py` maps them to etcd's errors."""

from rusd.base.errors import Refusal


class NoLeader(Refusal):
    """No leader was known for an election timeout, and leases are the leader's business."""

    reason = "no leader"


class LeaderTimeout(Refusal):
    """Leaders were known, but none gave an answer before the deadline."""

    reason = "the leader gave no answer in time"
