"""Deadlines of leases on the leader, in a heap; the caller passes in the time.

Times are seconds of one monotonic clock. The heap holds one valid entry for each lease: its
deadline, or an earlier one. A renewal leaves the entry where it is; when the entry comes up, it
moves to the lease's deadline. An entry that is replaced by an earlier one stays behind, as does
that of a revoked lease. It differs from the lease's latest (`_due_at`) and is dropped when it comes
up, or once three quarters of the heap are such entries.

Work on many leases is done in slices: a new leader with 200,000 leases assigns their deadlines
while it serves. A lease without a deadline does not expire meanwhile.
"""

import heapq
from collections.abc import Generator

from rusd.base import sliced
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
        #: Time of the one valid heap entry of a lease: its deadline or an earlier one, or its next
        #: retry.
        self._due_at: dict[int, float] = {}
        self._heap: list[tuple[float, int]] = []
        #: The heap that replaces it, while that is being built.
        self._new_heap: list[tuple[float, int]] | None = None
        #: The rest of the slices that assign deadlines after a promotion.
        self._promotion: Generator[None, None, None] | None = None
        #: What is not used any more; `due` frees it in slices.
        self._unused: list[list[tuple[float, int]] | dict[int, float]] = []

    @property
    def primary(self) -> bool:
        """True while this member leads and keeps deadlines."""
        return self._primary

    def promote(self, now: float, extend: float) -> None:
        """Restart every lease with its TTL, or with the remaining TTL of its last checkpoint.

        `extend`: seconds added for the time without a leader, in which no client could renew.
        """
        self._start_anew()
        self._primary = True
        self._promotion = self._assign(now + extend)
        self._continue_promotion()

    def demote(self) -> None:
        """Forget all deadlines: another member leads."""
        self._start_anew()
        self._primary = False

    def _start_anew(self) -> None:
        if self._promotion is not None:
            self._promotion.close()
            self._promotion = None
        self._unused += [self._by_lease, self._due_at, self._heap]
        self._by_lease = {}
        self._due_at = {}
        self._heap = []
        self._new_heap = None

    def granted(self, lease_id: int, ttl: int, now: float) -> None:
        """A lease was granted. No effect on a follower."""
        if self._primary:
            self._set(lease_id, now + ttl)

    def revoked(self, lease_id: int) -> None:
        """A lease was removed."""
        self._by_lease.pop(lease_id, None)
        self._due_at.pop(lease_id, None)

    def renew(self, lease_id: int, now: float) -> int:
        """Renew a lease; returns its TTL in seconds, or 0 if it does not exist or has expired:
        its expiry may be proposed already.
        """
        lease = self._leases.get(lease_id)
        if lease is None or not self._primary or self._by_lease.get(lease_id, now + 1) <= now:
            return 0
        ttl = lease.ttl
        self._set(lease_id, now + ttl)
        return ttl

    def expired(self, lease_id: int, now: float) -> bool:
        """Returns True if the lease's deadline has passed and it is not revoked yet."""
        deadline = self._by_lease.get(lease_id)
        return deadline is not None and deadline <= now

    def remaining(self, lease_id: int, now: float) -> float:
        """Returns the seconds left: negative after the deadline, infinite without one."""
        return self._by_lease.get(lease_id, float("inf")) - now

    def due(self, now: float, limit: int) -> Generator[None, None, list[int]]:
        """Returns the ids of at most `limit` expired leases, in slices.

        Each is returned again after RETRY_INTERVAL until `revoked` or `renew` is called for it.
        """
        while self._promotion is not None or self._unused:
            if self._promotion is not None:
                self._continue_promotion()
                yield
            else:
                yield from sliced.emptied(self._unused.pop())
        if len(self._heap) > 4 * len(self._by_lease) + 64:
            yield from self._rebuild_heap()
        heap = self._heap
        meter = sliced.Meter()
        found: list[int] = []
        while heap and len(found) < limit and heap[0][0] <= now:
            turn, lease_id = heapq.heappop(heap)
            if self._due_at.get(lease_id) == turn:
                deadline = self._by_lease[lease_id]
                if deadline <= now:
                    found.append(lease_id)
                    deadline = now + RETRY_INTERVAL
                self._push(deadline, lease_id)
            if meter.passed():
                yield
                if self._heap is not heap:
                    return []  # promoted or demoted between two slices
        # Between two slices, a lease may have been revoked and granted anew.
        return [lease_id for lease_id in found if self.expired(lease_id, now)]

    def _continue_promotion(self) -> None:
        assert self._promotion is not None
        if next(self._promotion, True):
            self._promotion = None

    def _assign(self, start: float) -> Generator[None, None, None]:
        """Set deadlines that begin at `start`, in slices, in order of expiry.

        Delays them so that less than three quarters of REVOKE_RATE are due in one second: after a
        change of leader many leases would expire together. As in etcd.
        """
        leases = list(self._leases)
        timed: list[tuple[float, int]] = []
        # (Once this has ended, or is given up: what is unused is freed behind a promotion.)
        self._unused.append(timed)
        for first in range(0, len(leases), sliced.SORTED):
            timed += [
                (start + (lease.remaining_ttl or lease.ttl), lease.id)
                for lease in leases[first : first + sliced.SORTED]
            ]
            if first + sliced.SORTED < len(leases):
                yield
        in_order = yield from sliced.ordered(timed)
        spacing = 4 / (3 * REVOKE_RATE) if len(timed) >= REVOKE_RATE else 0.0
        earliest = float("-inf")
        for number, (deadline, lease_id) in enumerate(in_order, 1):
            earliest = max(deadline, earliest + spacing)
            # Between two slices, it may have been granted, renewed or revoked.
            if lease_id not in self._by_lease and self._leases.get(lease_id) is not None:
                self._set(lease_id, earliest)
            if number % sliced.SORTED == 0 and number < len(timed):
                yield

    def _set(self, lease_id: int, deadline: float) -> None:
        self._by_lease[lease_id] = deadline
        if deadline < self._due_at.get(lease_id, float("inf")):
            self._push(deadline, lease_id)

    def _push(self, turn: float, lease_id: int) -> None:
        self._due_at[lease_id] = turn
        heapq.heappush(self._heap, (turn, lease_id))
        if self._new_heap is not None:
            heapq.heappush(self._new_heap, (turn, lease_id))

    def _rebuild_heap(self) -> Generator[None, None, None]:
        """Drop the entries of revoked leases, in slices."""
        old, new = self._heap, list[tuple[float, int]]()
        self._new_heap = new
        meter = sliced.Meter()
        for lease_id, turn in list(self._due_at.items()):
            if self._due_at.get(lease_id) == turn:
                heapq.heappush(new, (turn, lease_id))
            if meter.passed():
                yield
                if self._new_heap is not new:
                    self._unused.append(new)
                    return  # promoted or demoted between two slices
        self._heap, self._new_heap = new, None
        yield from sliced.emptied(old)
