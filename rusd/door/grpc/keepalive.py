"""Pings in both directions, by the rules of grpc-go's keepalive.

A client may ping once in `min_time` seconds; the third ping in excess ends its connection. Answers
sent between two pings reset the count, since clients ping to measure the bandwidth of what they
read. Unlike etcd, a client without a call may ping as often as any other (etcd: once in two hours):
clients in Python do so, and it costs nothing. In the other direction a client that was silent for
`interval` is pinged, and its connection closed if it stays silent for `timeout`.
"""

from dataclasses import dataclass

#: Pings in excess that are tolerated.
STRIKES = 2


@dataclass(frozen=True, slots=True)
class Keepalive:
    """Keepalive settings in seconds, from etcd's flags --grpc-keepalive-*."""

    #: Least time between two pings of a client.
    min_time: float
    #: Silence after which the server pings a client (0: never), and the time to answer.
    interval: float = 7200
    timeout: float = 20


class PingPolicy:
    """Counts the pings of one client that arrive too soon after another."""

    __slots__ = ("_last", "_minimum", "_strikes")

    def __init__(self, minimum: float) -> None:
        """`minimum`: seconds between two pings (--grpc-keepalive-min-time)."""
        self._minimum = minimum
        self._last = float("-inf")
        self._strikes = 0

    def allows(self, now: float, *, excused: bool) -> bool:
        """Count a ping at `now`; `excused`: something was sent since the last one.

        False if the connection must end (ENHANCE_YOUR_CALM).
        """
        last, self._last = self._last, now
        if excused:
            self._strikes = 0
        elif now < last + self._minimum:
            self._strikes += 1
        return self._strikes <= STRIKES


class Heartbeat:
    """Detects a client that does not acknowledge pings."""

    __slots__ = ("_asked", "_interval", "_timeout")

    def __init__(self, interval: float, timeout: float) -> None:
        """Seconds of silence before a ping (0: never), and after it."""
        self._interval = interval
        self._timeout = timeout
        self._asked = float("inf")

    def due(self, now: float, heard: float) -> bool:
        """Return whether to ping. `heard`: when data last arrived."""
        if heard > self._asked:
            self._asked = float("inf")
        if self._interval and self._asked > now and now - heard >= self._interval:
            self._asked = now
            return True
        return False

    def dead(self, now: float, heard: float) -> bool:
        """Return whether the client did not answer."""
        return heard <= self._asked and now - self._asked >= self._timeout
