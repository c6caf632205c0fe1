"""Lets glibc keep freed memory for the next large message.

By default glibc maps a block of 128 KiB or more on its own until one of that size was freed, and
returns the top of its heap to the system when 128 KiB of it are free. The pages of a range of 1,000
keys (300 KiB) were so faulted in again for every answer: a third of its CPU time. What is kept is
bounded by KEPT_BYTES; `door/memory_budget.py` returns the rest after a peak.
"""

import contextlib
import ctypes

#: Bytes of a block from which it is a mapping of its own, returned when it is freed.
MAPPED_BYTES = 4 << 20
#: Free bytes at the top of the heap above which they are returned.
KEPT_BYTES = 32 << 20

# Parameters of mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


def keep_freed() -> None:
    """Set both limits, for the whole process. Other C libraries have none, and are left as they
    are.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(_MMAP_THRESHOLD, MAPPED_BYTES)
