"""Limits accepted connections that have not sent a hello: in all, and from one address.

At a limit the oldest one is ended for the new one: of the same address if that address has its
share. A member sends its hello at once, so the oldest ones are no members.
"""

import resource
from typing import Generic, TypeVar

#: Connections without a hello, in all and from one address.
MAX_UNCONFIRMED = 64
MAX_OF_ADDRESS = 32
#: File descriptors kept free of them, for the journal, the store and the members. (Clients leave
#: more, `door/admission.py`.)
RESERVED = 64

C = TypeVar("C")


class UnconfirmedConnections(Generic[C]):
    """Connections without a hello, in the order of their arrival."""

    def __init__(self) -> None:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._full = float("inf") if soft == resource.RLIM_INFINITY else soft - RESERVED
        #: Connection -> the address it came from.
        self._waiting: dict[C, str] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def too_many_files(self, descriptor: int) -> bool:
        """Return whether a connection must be refused for lack of descriptors. The kernel assigns
        the lowest free number, so the number tells how many are in use.
        """
        return descriptor >= self._full

    def add(self, connection: C, address: str) -> C | None:
        """Add a connection; returns the one to end for it, or None."""
        same = [one for one, of in self._waiting.items() if of == address]
        oldest = None
        if len(same) >= MAX_OF_ADDRESS:
            oldest = same[0]
        elif len(self._waiting) >= MAX_UNCONFIRMED:
            oldest = next(iter(self._waiting))
        if oldest is not None:
            del self._waiting[oldest]
        self._waiting[connection] = address
        return oldest

    def remove(self, connection: C) -> None:
        """Forget a connection: it ended, or sent its hello."""
        self._waiting.pop(connection, None)
