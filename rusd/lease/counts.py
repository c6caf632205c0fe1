"""Counts of lease operations on one member since its start, as etcd counts them."""

from rusd.base.distribution import Distribution, exponential

#: Seconds of a TTL.
_TTL = exponential(1, 2, 24)


class Counts:
    """Plain integers, for the metrics."""

    __slots__ = ("expired", "granted", "renewed", "revoked", "ttls")

    def __init__(self) -> None:
        #: Applied on this member; `revoked` counts the expired ones too.
        self.granted = 0
        self.revoked = 0
        #: By this member as leader.
        self.renewed = 0
        self.expired = 0
        #: Of granted and renewed leases.
        self.ttls = Distribution(_TTL)
