"""Room on the disks that a member writes to, and what becomes of a member that has none.

Before a disk is full, growth is refused with etcd's "database space exceeded" (`Space`, asked by
the quota); reads and deletions go on, and so does everything once there is room again: no alarm is
raised, nobody need disarm one. A leader hands leadership over meanwhile (`leadership_transfer.py`).
A disk that others fill to the last block ends the member in mid-write all the same. Then nothing in
its memory can be trusted to be on disk: it lets go of everything, waits for room and begins anew as
after a crash (`rusd/member/process.py`), while the other members go on without it.
"""

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path

#: Bytes that must be free for anything to grow: the next journal segment, a flush of all memtables.
RESERVE = 64 << 20
#: Bytes that must be free for a member that found its disk full to begin anew.
ENOUGH = RESERVE // 2
#: Seconds for which a look at the disks may serve.
LOOK_INTERVAL = 0.2

#: (path) -> bytes free for this process.
Free = Callable[[Path], int]


def free(path: Path) -> int:
    """Bytes free on the file system of `path`, or of what is there of it."""
    while not path.exists() and path != path.parent:
        path = path.parent
    found = os.statvfs(path)
    if found.f_files and not found.f_favail:
        return 0  # no more files can be made
    return found.f_bavail * found.f_frsize


class Space:
    """The disks of one member."""

    def __init__(self, paths: Sequence[Path], free: Free = free) -> None:
        self._paths = paths
        self._free = free
        self._looked_at = float("-inf")
        self._scarce = False

    def scarce(self, now: float) -> bool:
        """Whether nothing may grow; `now`: monotonic seconds."""
        if now - self._looked_at > LOOK_INTERVAL:
            self._looked_at = now
            self._scarce = self.least() < RESERVE
        return self._scarce

    def enough(self) -> bool:
        """Whether a member may begin anew."""
        return self.least() >= ENOUGH

    def least(self) -> int:
        """Bytes free on the fullest of the disks."""
        return min(map(self._free, self._paths))


def full_disk(error: BaseException | None) -> bool:
    """Whether a full disk is at the root of this error."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if os.strerror(errno.ENOSPC) in str(error) or os.strerror(errno.EDQUOT) in str(error):
            return True  # RocksDB's errors are text
        error = error.__cause__ or error.__context__
    return False
