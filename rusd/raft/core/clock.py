"""Monotonic time that excludes pauses of the process.

After a stall (SIGSTOP, a suspended machine, a long callback) the event loop runs timers before it
reads sockets. A timeout judged then would judge the silence of others by what had arrived before
the stall, although their messages wait in the sockets. So only the first part of a stall counts,
and a timeout needs time in which the member could read. etcd's Raft counts ticks of a ticker, which
drops those that were not taken, to the same effect.

Used for everything that ends by time: elections, CheckQuorum, deadlines of calls and of questions,
snapshot streams, leases.
"""

from collections.abc import Callable


class Clock:
    """The time of one member. It must be read more often than once in `stall` seconds."""

    def __init__(self, source: Callable[[], float], stall: float) -> None:
        """`source`: monotonic seconds. `stall`: seconds between two readings that count at most."""
        self._source = source
        self._stall = stall
        self._read_at: float | None = None
        self._uncounted = 0.0
        #: The last reading: good enough for deadlines, and costs nothing.
        self.latest = 0.0

    def now(self) -> float:
        """Returns seconds."""
        now = self._source()
        if self._read_at is not None and now - self._read_at > self._stall:
            self._uncounted += now - self._read_at - self._stall
        self._read_at = now
        self.latest = now - self._uncounted
        return self.latest
