"""Deadlines of leases on the leader, in a heap; the caller passes in the time.

Times are seconds of one monotonic clock. A renewed lease leaves its old heap entry behind; the
entry differs from the lease's latest (`_due_at`) and is dropped when it comes up.
"""

import heapq

from rusd.lease.ports import LeaseRecords

#: Seconds after which an expiry that was not applied is proposed again.
RETRY_INTERVAL = 3.0
#: Expiries proposed in a second at most, as in etcd.
REVOKE_RATE = 1000


class LeaseDeadlines:
    """Deadlines of all leases while this member leads; empty while it follows."""

    def __init__(self, leases: LeaseRecords) -> None:
        self._leases = leases
        self._primary = False
        self._by_lease: dict[int, float] = {}
        #: Time of the one valid heap entry of a lease: its deadline, or its next retry.
        self._due_at: dict[int, float] = {}
        self._heap: list[tuple[float, int]] = []

    @property
    def primary(self) -> bool:
        """True while this member leads and keeps deadlines."""
        return self._primary

    def promote(self, now: float, extend: float) -> None:
        """Start every lease anew, with its TTL or what its last checkpoint left of it.

        `extend`: seconds added for the time without a leader, in which no client could renew.
        """
        self._primary = True
        self._by_lease = {
            lease.id: now + extend + (lease.remaining_ttl or lease.ttl) for lease in self._leases
        }
        if len(self._by_lease) >= REVOKE_RATE:
            self._spread()
        self._due_at = dict(self._by_lease)
        self._rebuild_heap()

    def demote(self) -> None:
        """Stop leading: deadlines are another member's business."""
        self._primary = False
        self._by_lease = {}
        self._due_at = {}
        self._heap = []

    def granted(self, lease_id: int, ttl: int, now: float) -> None:
        """A lease was granted. No effect on a follower."""
        if self._primary:
            self._set(lease_id, now + ttl)

    def revoked(self, lease_id: int) -> None:
        """A lease was removed."""
        self._by_lease.pop(lease_id, None)
        self._due_at.pop(lease_id, None)

    def renew(self, lease_id: int, now: float) -> int:
        """Renew a lease; returns its TTL in seconds, or 0 if it does not exist.

        Must not be called for an expired lease (see `expired`): its expiry may be proposed already.
        """
        lease = self._leases.get(lease_id)
        if lease is None or not self._primary:
            return 0
        self._set(lease_id, now + lease.ttl)
        return lease.ttl

    def expired(self, lease_id: int, now: float) -> bool:
        """Returns True if the lease's deadline has passed and it is not revoked yet."""
        deadline = self._by_lease.get(lease_id)
        return deadline is not None and deadline <= now

    def remaining(self, lease_id: int, now: float) -> float:
        """Returns the seconds left: negative after the deadline, infinite without one."""
        return self._by_lease.get(lease_id, float("inf")) - now

    def due(self, now: float, limit: int) -> list[int]:
        """Returns the ids of at most `limit` expired leases.

        Each is returned again after RETRY_INTERVAL until `revoked` or `renew` is called for it.
        """
        found: list[int] = []
        while self._heap and len(found) < limit and self._heap[0][0] <= now:
            turn, lease_id = heapq.heappop(self._heap)
            if self._due_at.get(lease_id) == turn:
                found.append(lease_id)
                self._push(now + RETRY_INTERVAL, lease_id)
        return found

    def _set(self, lease_id: int, deadline: float) -> None:
        self._by_lease[lease_id] = deadline
        self._push(deadline, lease_id)
        # Each renewal leaves an entry; a long-lived lease must not grow the heap.
        if len(self._heap) > 4 * len(self._by_lease) + 64:
            self._rebuild_heap()

    def _push(self, turn: float, lease_id: int) -> None:
        self._due_at[lease_id] = turn
        heapq.heappush(self._heap, (turn, lease_id))

    def _rebuild_heap(self) -> None:
        self._heap = [(turn, lease_id) for lease_id, turn in self._due_at.items()]
        heapq.heapify(self._heap)

    def _spread(self) -> None:
        """Delay deadlines so that less than three quarters of REVOKE_RATE are due in one second:
        after a change of leader many leases would expire together. As in etcd."""
        per_second = 3 * REVOKE_RATE // 4
        spacing = 1.0 / per_second
        earliest = float("-inf")
        for lease_id, deadline in sorted(self._by_lease.items(), key=lambda item: item[1]):
            earliest = max(deadline, earliest + spacing)
            self._by_lease[lease_id] = earliest
