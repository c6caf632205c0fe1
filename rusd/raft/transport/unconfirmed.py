"""Accepted connections that are not known to be a member's yet: few of them, and few of an address.

The one that has waited longest makes room for a new one, of the same address if that has its share.
A member says hello at once, so those that wait are not members.
"""

import resource
from typing import Generic, TypeVar

#: At once, and of one address.
MOST = 64
MOST_OF_ADDRESS = 32
#: File descriptors that none of them may have: the journal, the store and the members need some.
#: (Clients leave more, `door/admission.py`.)
RESERVED = 64

C = TypeVar("C")


class Strangers(Generic[C]):
    """Connections in the order they came."""

    def __init__(self) -> None:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._full = float("inf") if soft == resource.RLIM_INFINITY else soft - RESERVED
        #: Connection -> the address it came from.
        self._waiting: dict[C, str] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def too_many_files(self, descriptor: int) -> bool:
        """Whether a connection must go because of its descriptor. The kernel gives every new one
        the lowest number that is free, so the number tells how many are in use."""
        return descriptor >= self._full

    def add(self, connection: C, address: str) -> C | None:
        """One more; the connection that has to go for it, if any."""
        same = [one for one, of in self._waiting.items() if of == address]
        oldest = None
        if len(same) >= MOST_OF_ADDRESS:
            oldest = same[0]
        elif len(self._waiting) >= MOST:
            oldest = next(iter(self._waiting))
        if oldest is not None:
            del self._waiting[oldest]
        self._waiting[connection] = address
        return oldest

    def remove(self, connection: C) -> None:
        """It is gone, or no stranger any more."""
        self._waiting.pop(connection, None)
