"""Free space of a member's disks, and the refusals when it is exhausted.

While a disk is nearly full, growth is refused with etcd's "database space exceeded" (`DiskSpace`,
asked by the quota). Reads and deletions are served, and growth is too as soon as there is space
again: no alarm is raised, so none has to be disarmed. A leader transfers leadership meanwhile
(`leadership_transfer.py`).

A disk that other processes fill to the last block still ends the member in the middle of a write.
Its memory may then differ from its disk, so it closes everything, waits for space and starts as
after a crash (`rusd/member/process.py`), while the other members serve.
"""

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from rusd.base.free_space import free

#: Free bytes below which growth is refused: the next journal segment and a flush of all memtables.
RESERVE = 64 << 20
#: Free bytes at which a member that stopped on a full disk starts again.
RESTART_FREE = RESERVE // 2
#: Seconds for which a measurement is used.
MEASURE_INTERVAL = 0.2

#: (path) -> bytes free for this process.
Free = Callable[[Path], int]


class DiskSpace:
    """The disks of one member."""

    def __init__(self, paths: Sequence[Path], free: Free = free) -> None:
        self._paths = paths
        self._free = free
        self._measured_at = float("-inf")
        self._scarce = False

    def scarce(self, now: float) -> bool:
        """Return whether growth is refused; `now`: monotonic seconds."""
        if now - self._measured_at > MEASURE_INTERVAL:
            self._measured_at = now
            self._scarce = self.least() < RESERVE
        return self._scarce

    def enough(self) -> bool:
        """Return whether a member that stopped on a full disk may start again."""
        return self.least() >= RESTART_FREE

    def least(self) -> int:
        """Return the free bytes of the fullest disk."""
        return min(map(self._free, self._paths))


def full_disk(error: BaseException | None) -> bool:
    """Return whether a full disk caused this error."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if os.strerror(errno.ENOSPC) in str(error) or os.strerror(errno.EDQUOT) in str(error):
            return True  # RocksDB's errors are text
        error = error.__cause__ or error.__context__
    return False
