"""Refusals of the lease room. `rusd/rpc/errors.py` maps them to etcd's errors."""

from rusd.base.errors import Refusal


class NoLeader(Refusal):
    """No leader was known for an election timeout; only the leader renews leases."""

    reason = "no leader"


class LeaderTimeout(Refusal):
    """No leader responded before the deadline."""

    reason = "the leader gave no answer in time"
