"""When to make a backup, which to remove, and whether one is overdue: rules without I/O.

Times are Unix seconds, of clocks that may be wrong, and of another member's clock where a directory
is shared. So a backup from the future counts as one that was just made if it is less than an
interval ahead, and as the oldest of all otherwise.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from rusd.backup.scheduled.names import Backup

#: Seconds from a failure to the next attempt, unless the interval is shorter.
RETRY: Final = 600.0
#: Seconds from a backup to one that is needed before the interval has passed: a cluster that
#: changes its leader again and again must not replace all older backups.
DEMANDED: Final = 60.0
#: Seconds after which another member's unfinished backup is not written any more.
ABANDONED: Final = 24 * 3600.0


class Retention(NamedTuple):
    """How many backups are kept, and for how long; None: without end."""

    most: int | None
    #: Seconds.
    age: float | None


class Entry(NamedTuple):
    """A file as a place lists it."""

    name: str
    #: Bytes.
    size: int
    #: Unix time of its last change.
    changed: float


class Schedule:
    """The rules for one member, with what it knows of the last backup."""

    def __init__(self, interval: float, retention: Retention) -> None:
        """`interval`: seconds."""
        self._interval = interval
        self._retention = retention
        self._retry_at = 0.0
        self._demanded = False
        #: Since when this member is responsible for backups; None while another one is.
        self._since: float | None = None
        #: The time of the last backup.
        self._last: int | None = None

    def responsible(self, leads: bool, now: float) -> None:
        """Record whether this member leads."""
        if not leads:
            self._since, self._demanded = None, False
        elif self._since is None:
            self._since = now

    def demand(self) -> None:
        """Record that a backup is needed before the interval has passed."""
        self._demanded = True

    def newest(self, found: Sequence[Backup], now: float) -> Backup | None:
        """Return the last backup that was made, None without one."""
        return max((each for each in found if each.time < now + self._interval), default=None)

    def wait(self, found: Sequence[Backup], now: float) -> float:
        """Return seconds until the next backup is due by the backups that exist; 0 if it is."""
        newest = self.newest(found, now)
        self._last = newest.time if newest is not None else None
        interval = min(self._interval, DEMANDED) if self._demanded else self._interval
        due = now if self._last is None else self._last + interval
        if 0 < self._retry_at - now <= RETRY:
            due = max(due, self._retry_at)
        return max(0.0, due - now)

    def succeeded(self, written: Backup) -> None:
        """Record a backup that was verified."""
        self._last, self._retry_at, self._demanded = written.time, 0.0, False

    def failed(self, now: float) -> float:
        """Record an attempt that failed; return the seconds until the next one."""
        retry = min(self._interval, RETRY)
        self._retry_at = now + retry
        return retry

    def superseded(self, written: Backup, found: Sequence[Backup], now: float) -> list[Backup]:
        """Return the backups to remove now that `written` is verified. `written` stays, and what
        is of a later revision: the state has gone back, and only those hold what was lost.
        """
        most, age = self._retention
        before = (each for each in found if each.revision <= written.revision)
        others = sorted(
            (each for each in before if each.name != written.name),
            key=lambda each: (each.time < now + self._interval, each),
        )
        excess = 0 if most is None else max(0, len(others) + 1 - most)
        removed, kept = others[:excess], others[excess:]
        if age is not None:
            removed += [each for each in kept if now - each.time > age]
        return removed

    def overdue(self, now: float) -> float:
        """Return for how many seconds a backup is overdue, which it is an interval after it was due
        here; 0 while another member is responsible.
        """
        if self._since is None:
            return 0.0
        due = self._since
        if self._last is not None:
            due = max(due, self._last + self._interval)
        return max(0.0, now - due - self._interval)


def abandoned(entry: Entry, now: float) -> bool:
    """Return whether an unfinished backup of another member can be removed."""
    return now - entry.changed > ABANDONED
