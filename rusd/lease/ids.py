"""Ids for leases whose client chose none: unique among members without talking to them."""

_COUNTER_BITS = 8
_TIME_BITS = 40
_SUFFIX_BITS = _TIME_BITS + _COUNTER_BITS
_POSITIVE_INT64 = (1 << 63) - 1


class LeaseIds:
    """Counts upwards from (16 bits of the member id, 40 bits of milliseconds, 8 bits of zero).

    The count may run over into the time: ids stay unique as long as fewer than 256 a millisecond
    are drawn between two starts.
    """

    def __init__(self, member_id: int, now_ms: int) -> None:
        """`now_ms`: Unix time in milliseconds at the start of the member."""
        self._prefix = (member_id & 0xFFFF) << _SUFFIX_BITS
        self._suffix = (now_ms & ((1 << _TIME_BITS) - 1)) << _COUNTER_BITS

    def next(self) -> int:
        """A positive int64 that was not given out before."""
        while True:
            self._suffix = (self._suffix + 1) & ((1 << _SUFFIX_BITS) - 1)
            lease_id = (self._prefix | self._suffix) & _POSITIVE_INT64
            if lease_id:
                return lease_id
