"""Memory that one connection makes the server hold, and whether its client makes progress.

`held` is what can be freed by closing the connection: answers that wait for the client, and
requests that are not complete. Complete requests in service are no reason to close it.
"""

from typing import Any

from rusd.door.h2 import Connection
from rusd.door.memory_budget import IDLE_SECONDS, MOVED_PART, SMALL_SHARE, MemoryBudget


class MemoryUsage:
    """The bytes of one connection."""

    __slots__ = ("_h2", "_idle_seconds", "_memory", "_moved", "_outbound", "unwritten")

    def __init__(self, h2: Connection[Any], memory: MemoryBudget) -> None:
        self._h2 = h2
        self._outbound = h2.outbound
        self._memory = memory
        #: Bytes that the socket does not take, and bytes received and not acted on.
        self.unwritten = 0
        #: For how many seconds the client has moved little, and what it had moved by then.
        self._idle_seconds = 0
        self._moved = 0

    def count_unwritten(self, size: int) -> None:
        """Set the bytes that the socket has not taken yet."""
        self._memory.add(size - self.unwritten)
        self.unwritten = size

    def exceeds_share(self) -> bool:
        """Return whether the connection holds its maximum of responses."""
        return self._memory.exceeds_share(self._h2.outbound.queued + self.unwritten)

    def allows_small(self) -> bool:
        """Return whether the connection may be given a small answer now."""
        memory = self._memory
        return (
            memory.held <= memory.budget and self._outbound.queued + self.unwritten <= SMALL_SHARE
        )

    @property
    def single_answer(self) -> int:
        """Bytes of the only answer that waits for the client; 0 if none or several do."""
        outbound = self._h2.outbound
        return outbound.queued + self.unwritten if outbound.waiting_streams == 1 else 0

    @property
    def held(self) -> int:
        """Bytes held for the client that are not being processed by a service."""
        inbound = self._h2.inbound
        return self._h2.outbound.queued + self.unwritten + inbound.kept - inbound.processing

    @property
    def overhead(self) -> int:
        """Counted bytes of streams and headers."""
        return self._h2.inbound.overhead

    @property
    def claimed(self) -> int:
        """Bytes held or reserved, without those of messages that must wait for a reservation."""
        inbound = self._h2.inbound
        return self.held + inbound.outstanding - inbound.delayed

    def is_idle_holder(self) -> bool:
        """Return whether the client held much memory and moved few bytes for `IDLE_SECONDS`. Called
        once a second while memory must be freed.
        """
        moved = self._h2.outbound.sent + self._h2.inbound.collected
        claimed = self.claimed
        busy = (moved - self._moved) * MOVED_PART >= claimed
        self._moved = moved
        self._idle_seconds = 0 if busy or not claimed else self._idle_seconds + 1
        return self._idle_seconds > IDLE_SECONDS
