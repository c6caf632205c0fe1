"""Pings in both directions, by the rules of etcd's gRPC server (grpc-go's keepalive).

A client may ping once per `minimum` seconds; the third ping in excess sends it away. Answers that
we send between its pings excuse it, since clients ping to measure the bandwidth of what they read.
etcd bears no pings of clients without a call for two hours; we bear them as often as any others:
clients in Python do that, and it costs nothing. In the other direction a client that has been
silent for `interval` is pinged, and given up if it stays silent for `timeout`.
"""

#: Pings in excess that are borne.
STRIKES = 2


class PingPolicy:
    """What one client's pings are worth."""

    __slots__ = ("_last", "_minimum", "_strikes")

    def __init__(self, minimum: float) -> None:
        """`minimum`: seconds between two pings (--grpc-keepalive-min-time)."""
        self._minimum = minimum
        self._last = float("-inf")
        self._strikes = 0

    def allows(self, now: float, *, excused: bool) -> bool:
        """A ping came at `now`; `excused`: something was sent since the last. False if the client
        is to be sent away."""
        last, self._last = self._last, now
        if excused:
            self._strikes = 0
        elif now < last + self._minimum:
            self._strikes += 1
        return self._strikes <= STRIKES


class Heartbeat:
    """Whether one client is still there."""

    __slots__ = ("_asked", "_interval", "_timeout")

    def __init__(self, interval: float, timeout: float) -> None:
        """Seconds of silence before a ping (0: never), and after it."""
        self._interval = interval
        self._timeout = timeout
        self._asked = float("inf")

    def due(self, now: float, heard: float) -> bool:
        """Whether to ping, `heard` being when the client was last heard of."""
        if heard > self._asked:
            self._asked = float("inf")
        if self._interval and self._asked > now and now - heard >= self._interval:
            self._asked = now
            return True
        return False

    def dead(self, now: float, heard: float) -> bool:
        """Whether the client did not answer."""
        return heard <= self._asked and now - self._asked >= self._timeout
