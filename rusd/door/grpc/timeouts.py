"""Timeouts of one connection: unfinished frames, stalled readers, dead clients.

What a client sent in time may be unread: while this member reads nothing of it, it is judged only
by what it reads, and every wait for its bytes begins anew when reading resumes.
"""

from typing import Any

from rusd.door.grpc.answer_queue import MUCH
from rusd.door.grpc.keepalive import Heartbeat, Keepalive
from rusd.door.h2 import Connection
from rusd.door.h2.errors import ENHANCE_YOUR_CALM, SETTINGS_TIMEOUT

#: Seconds for a frame or a header block, once begun, and for the acknowledgement of SETTINGS.
FRAME_SECONDS = 30.0
#: Seconds for a client to take at least some of what waits for it, if that is more than `MUCH` or
#: fills the socket.
STALLED_SECONDS = 60.0


class Timeouts:
    """Timeouts of one connection, checked once a second."""

    __slots__ = ("_h2", "_heartbeat", "_progressed", "_reading", "_sent")

    def __init__(self, h2: Connection[Any], keepalive: Keepalive, now: float) -> None:
        self._h2 = h2
        self._heartbeat = Heartbeat(keepalive.interval, keepalive.timeout)
        #: Bytes sent when the output last progressed, and when that was.
        self._sent = 0
        self._progressed = now
        #: Since when the socket is read.
        self._reading = now

    def unread(self, now: float) -> None:
        """The socket was not read until `now`."""
        self._reading = now

    def written(self, now: float) -> None:
        """The socket takes data again."""
        self._progressed = now

    def failure(self, now: float) -> tuple[int, str] | None:
        """The connection error of a frame or an acknowledgement that is overdue."""
        h2 = self._h2
        narrowing = h2.inbound.narrowing
        if now - self._reading <= FRAME_SECONDS:
            return None
        if narrowing is not None and now - narrowing > FRAME_SECONDS:
            return SETTINGS_TIMEOUT, "SETTINGS not acknowledged"
        if now - h2.began > FRAME_SECONDS and h2.unfinished:
            return ENHANCE_YOUR_CALM, "a frame that never ends"
        return None

    def unresponsive(self, now: float, heard: float, *, held: bool) -> str:
        """Return how the client shows that it is gone: it reads nothing (`held`: the socket takes
        no data), or did not answer a ping (`heard`: when data last arrived). Empty if it is not.
        """
        if self._stalled(now, held):
            return "the client does not read"
        heard = max(heard, self._reading)
        return "the client did not answer a ping" if self._heartbeat.dead(now, heard) else ""

    def ping_due(self, now: float, heard: float) -> bool:
        """Return whether to send a keepalive ping. `heard`: when data last arrived."""
        return self._heartbeat.due(now, max(heard, self._reading))

    def _stalled(self, now: float, held: bool) -> bool:
        outbound = self._h2.outbound
        waits = held or outbound.queued > MUCH
        if not waits or outbound.sent != self._sent:
            self._sent, self._progressed = outbound.sent, now
        return now - self._progressed > STALLED_SECONDS
