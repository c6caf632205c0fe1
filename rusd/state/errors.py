"""Refusals of the state machine. `rusd/rpc/errors.py` maps them to etcd's errors.

Each is the result of an applied request, the same on every member; the request changes nothing.
"""

from rusd.base.errors import Refusal


class Undecodable(Refusal):
    """A committed proposal that no member can decode; all members skip it."""

    reason = "the proposal cannot be decoded"


class NoSpace(Refusal):
    """An alarm NOSPACE is raised, and the request would make the store grow."""

    reason = "an alarm NOSPACE is raised"


class Corrupt(Refusal):
    """An alarm CORRUPT is raised."""

    reason = "an alarm CORRUPT is raised"


class EmptyKey(Refusal):
    """A put without a key."""

    reason = "the key is empty"


class KeyNotFound(Refusal):
    """A put that keeps value or lease of a key that does not exist."""

    reason = "the key does not exist"


class LeaseNotFound(Refusal):
    """There is no lease of this id."""

    reason = "the lease does not exist"


class LeaseExists(Refusal):
    """A grant with the id of another lease."""

    reason = "the lease exists"


class LeaseTtlTooLarge(Refusal):
    """A grant of more than `leases.MAX_TTL` seconds."""

    reason = "the TTL is too large"


class LeaderChanged(Refusal):
    """The leader of an earlier term proposed the end of a lease."""

    reason = "proposed by the leader of an earlier term"


class MemberNotFound(Refusal):
    """There is no member of this id, or it was removed for good."""

    reason = "the member does not exist"


class MemberExists(Refusal):
    """There is a member of this id."""

    reason = "the member exists"


class PeerUrlExists(Refusal):
    """A peer URL belongs to another member."""

    reason = "the peer URL belongs to another member"


class TooManyLearners(Refusal):
    """The cluster has as many learners as the proposing member allows."""

    reason = "there are too many learners"


class NotLearner(Refusal):
    """A voter cannot be promoted."""

    reason = "the member is not a learner"


class LastVoter(Refusal):
    """The last voter cannot be removed."""

    reason = "the member is the last voter"
