"""Ids for leases that a client granted without one: unique in the cluster without coordination."""

_COUNTER_BITS = 8
_TIME_BITS = 40
_SUFFIX_BITS = _TIME_BITS + _COUNTER_BITS
_POSITIVE_INT64 = (1 << 63) - 1


class LeaseIds:
    """Counts upwards from (16 bits of the member id, 40 bits of milliseconds, 8 bits of zero).

    The counter may carry into the time: ids stay unique while fewer than 256 a millisecond are
    taken between two starts of the member.
    """

    def __init__(self, member_id: int, now_ms: int) -> None:
        """`now_ms`: Unix time in milliseconds at the start of the member."""
        self._prefix = (member_id & 0xFFFF) << _SUFFIX_BITS
        self._suffix = (now_ms & ((1 << _TIME_BITS) - 1)) << _COUNTER_BITS

    def next(self) -> int:
        """Returns a positive int64 that was not returned before."""
        while True:
            self._suffix = (self._suffix + 1) & ((1 << _SUFFIX_BITS) - 1)
            lease_id = (self._prefix | self._suffix) & _POSITIVE_INT64
            if lease_id:
                return lease_id
