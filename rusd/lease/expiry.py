"""When leases run out, on the leader: deadlines in a heap, with the time handed in by the caller.

Times are seconds of one monotonic clock. A deadline that moved leaves its old heap entry behind; it
is recognised by not being the lease's latest (`_turn`) and dropped when it comes up.
"""

import heapq
from collections.abc import Iterator
from typing import Protocol

#: Seconds after which a revocation that did not happen is asked for again.
RETRY_INTERVAL = 3.0
#: Revocations a second that the cluster is asked to bear.
REVOKE_RATE = 1000


class LeaseRecord(Protocol):
    """What is replicated of a lease."""

    @property
    def id(self) -> int: ...
    @property
    def ttl(self) -> int: ...
    @property
    def remaining_ttl(self) -> int: ...


class LeaseBook(Protocol):
    """The replicated leases."""

    def get(self, lease_id: int) -> LeaseRecord | None: ...
    def __iter__(self) -> Iterator[LeaseRecord]: ...


class LeaseDeadlines:
    """The deadlines of all leases while this member leads; knows none while it follows."""

    def __init__(self, leases: LeaseBook) -> None:
        self._leases = leases
        self._primary = False
        self._by_lease: dict[int, float] = {}
        #: The time of a lease's one valid heap entry: its deadline, or its next retry.
        self._turn: dict[int, float] = {}
        self._heap: list[tuple[float, int]] = []

    @property
    def primary(self) -> bool:
        """True while deadlines are kept here."""
        return self._primary

    def promote(self, now: float, extend: float) -> None:
        """Start leading: every lease begins anew (or with what a checkpoint says it had left).

        `extend`: seconds on top, for the time in which nobody could renew.
        """
        self._primary = True
        self._by_lease = {
            lease.id: now + extend + (lease.remaining_ttl or lease.ttl) for lease in self._leases
        }
        if len(self._by_lease) >= REVOKE_RATE:
            self._spread()
        self._turn = dict(self._by_lease)
        self._rebuild_heap()

    def demote(self) -> None:
        """Stop leading: deadlines are another member's business."""
        self._primary = False
        self._by_lease = {}
        self._turn = {}
        self._heap = []

    def granted(self, lease_id: int, ttl: int, now: float) -> None:
        """A lease was granted; without effect on a follower."""
        if self._primary:
            self._set(lease_id, now + ttl)

    def revoked(self, lease_id: int) -> None:
        """A lease is gone."""
        self._by_lease.pop(lease_id, None)
        self._turn.pop(lease_id, None)

    def renew(self, lease_id: int, now: float) -> int:
        """Give a lease its full TTL again and return it; 0 if there is no such lease here.

        Not to be called for an expired one (see `expired`): its revocation may be on its way.
        """
        lease = self._leases.get(lease_id)
        if lease is None or not self._primary:
            return 0
        self._set(lease_id, now + lease.ttl)
        return lease.ttl

    def expired(self, lease_id: int, now: float) -> bool:
        """True for a lease that ran out and is not revoked yet."""
        deadline = self._by_lease.get(lease_id)
        return deadline is not None and deadline <= now

    def remaining(self, lease_id: int, now: float) -> float:
        """Seconds left, negative if it ran out, infinite where no deadline is known."""
        return self._by_lease.get(lease_id, float("inf")) - now

    def due(self, now: float, limit: int) -> list[int]:
        """At most `limit` leases that ran out. Each is named again after RETRY_INTERVAL, until
        `revoked` says it is gone or `renew` that it lives."""
        found: list[int] = []
        while self._heap and len(found) < limit and self._heap[0][0] <= now:
            turn, lease_id = heapq.heappop(self._heap)
            if self._turn.get(lease_id) == turn:
                found.append(lease_id)
                self._push(now + RETRY_INTERVAL, lease_id)
        return found

    def _set(self, lease_id: int, deadline: float) -> None:
        self._by_lease[lease_id] = deadline
        self._push(deadline, lease_id)
        # Renewals leave an entry each; without this a long-lived lease would grow the heap.
        if len(self._heap) > 4 * len(self._by_lease) + 64:
            self._rebuild_heap()

    def _push(self, turn: float, lease_id: int) -> None:
        self._turn[lease_id] = turn
        heapq.heappush(self._heap, (turn, lease_id))

    def _rebuild_heap(self) -> None:
        self._heap = [(turn, lease_id) for lease_id, turn in self._turn.items()]
        heapq.heapify(self._heap)

    def _spread(self) -> None:
        """Delay some deadlines so that fewer than three quarters of REVOKE_RATE fall due within
        any one second: after a change of leader many leases would otherwise end together."""
        per_second = 3 * REVOKE_RATE // 4
        spacing = 1.0 / per_second
        earliest = float("-inf")
        for lease_id, deadline in sorted(self._by_lease.items(), key=lambda item: item[1]):
            earliest = max(deadline, earliest + spacing)
            self._by_lease[lease_id] = earliest
