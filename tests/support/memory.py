"""What a call allocates."""

import gc
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Seconds for which no other thread gets a turn: longer than what is measured.
ALONE = 60.0


@contextmanager
def traced() -> Iterator[Callable[[], int]]:
    """Trace the memory that the block allocates; yields a function that returns its peak in bytes.

    tracemalloc counts the whole process. What earlier tests left to the garbage collector (its
    finalizers may log and warn) and what threads do meanwhile is kept out.
    """
    interval = sys.getswitchinterval()
    gc.disable()
    sys.setswitchinterval(ALONE)
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        sys.setswitchinterval(interval)
        gc.enable()
