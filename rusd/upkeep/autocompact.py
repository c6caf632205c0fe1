"""When to compact by itself: etcd's two modes as pure functions of time and revision.

`tick(now, revision)` is called by the leader about every `interval` seconds and answers the
revision to compact to, or None. The member proposes it; `compacted` tells that it went through.
Source: etcd's documented behaviour of `--auto-compaction-mode` periodic and revision.
"""

from collections import deque
from typing import Protocol

HOUR = 3600.0
REVISION_INTERVAL = 300.0


class Policy(Protocol):
    """One mode of automatic compaction."""

    #: Seconds between two ticks.
    interval: float

    def tick(self, now: float, revision: int) -> int | None:
        """The revision to compact to now, or None."""

    def compacted(self, now: float, revision: int) -> None:
        """A compaction to `revision` was applied (or found already done)."""


class Periodic:
    """Keep `retention` seconds of history; compact every `min(retention, 1 hour)`.

    The revision is sampled ten times per compaction interval, so that the oldest sample kept is
    the revision of `retention` ago.
    """

    def __init__(self, retention: float) -> None:
        self._every = min(retention, HOUR)
        self.interval = self._every / 10
        self._samples: deque[int] = deque(maxlen=int(retention / self.interval) + 1)
        self._last_revision = 0
        self._last_time: float | None = None

    def tick(self, now: float, revision: int) -> int | None:
        if self._last_time is None:
            self._last_time = now
        self._samples.append(revision)
        target = self._samples[0]
        full = len(self._samples) == self._samples.maxlen
        if not full or now - self._last_time < self._every or target == self._last_revision:
            return None
        return target

    def compacted(self, now: float, revision: int) -> None:
        self._last_time = now
        self._last_revision = revision


class ByRevision:
    """Keep the last `retention` revisions; looked at every 5 minutes."""

    interval = REVISION_INTERVAL

    def __init__(self, retention: int) -> None:
        self._retention = retention
        self._last_revision = 0

    def tick(self, now: float, revision: int) -> int | None:
        target = revision - self._retention
        return target if target > 0 and target != self._last_revision else None

    def compacted(self, now: float, revision: int) -> None:
        self._last_revision = revision
