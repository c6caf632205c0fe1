"""Memory held for clients: incomplete requests, and responses that were not read.

One budget for all connections of a member (`--client-memory-bytes`), by how much of it is held:

    up to a quarter       nothing is held back
    above a quarter       connections buffer few requests without a reservation (`h2/inbound.py`)
    above half            (with what reserved requests have yet to receive) at most `RESERVATIONS`
                          large requests have a reservation at a time
                          connections that hold answers already: streams take no more messages,
                          long answers are not begun
                          a connection that moves less than a sixteenth of what it holds or has
                          reserved in a second, for `IDLE_SECONDS`, is closed, the largest first,
                          until there is space
    above three quarters  the same for connections that hold no answers; small answers of a
                          connection that holds less than `SMALL_SHARE` are made still
    above the budget      the largest connection is closed at once, unless it holds one answer only
                          and all others hold half of the budget at most

Calls that are held back hold nothing, and continue in their order when there is space. An answer
larger than the budget is therefore sent when little else is held, and bounds the memory of clients
to half the budget and that answer; it goes on as long as its client reads, or nothing waits for
space.

What is neither request nor answer (streams beyond the first few, their headers, header blocks that
do not end) may take half of the budget besides; above it the connection with most is closed.

Complete requests in service count, but are no reason to close a connection. Freed memory is
returned to the system when much of it is free. Encoding an answer, gzip and TLS buffers (64 KiB a
connection) are not counted.
"""

import ctypes
import os
from collections.abc import Callable
from pathlib import Path

#: Large requests with a reservation at a time when more than half of the budget is used.
RESERVATIONS = 16
#: Seconds for which a connection may hold much and move little while memory must be freed.
IDLE_SECONDS = 3
#: The part of its bytes that a connection must move in a second to be kept.
MOVED_PART = 16
#: Waiting calls that continue in one turn of the loop.
AT_ONCE = 16
#: Bytes a connection may hold and still be given small answers above three quarters.
SMALL_SHARE = 64 << 10
#: Bytes freed that are worth returning to the system.
WORTH_TRIMMING = 16 << 20

#: Bounds of the budget that follows from the size of the machine or container: an eighth of it.
PART_OF_MACHINE = 8
LEAST, MOST = 32 << 20, 256 << 20

_CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def default_budget(largest: int) -> int:
    """Return the default budget in bytes: at least four times the `largest` request."""
    part = memory_of_machine() // PART_OF_MACHINE
    return max(min(max(part, LEAST), MOST), 4 * largest)


def memory_of_machine() -> int:
    """Return the bytes this process may use: its container's limit, or the machine's memory."""
    sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in _CGROUP_LIMITS:
        try:
            sizes.append(int(path.read_text()))
        except (OSError, ValueError):
            continue  # no such hierarchy, or "max"
    return min(sizes)


class MemoryBudget:
    """The budget of one member; the `Ledger` of every connection (`rusd/door/ports.py`)."""

    def __init__(
        self,
        budget: int,
        soon: Callable[[Callable[[], None]], object],
        exceeded: Callable[[], None],
    ) -> None:
        """`soon` runs a callback after what runs now; `exceeded` closes connections at once."""
        self.budget = budget
        self.held = 0
        self.half = budget // 2
        #: Bytes of streams and headers.
        self.overhead = 0
        self._quarter = budget // 4
        self._three_quarters = budget // 4 * 3
        #: Requests with a reservation, and bytes that they have yet to receive.
        self.reserved = 0
        self.outstanding = 0
        #: The most that was held since memory was returned to the system, and since the last check.
        self._peak = 0
        self._recent = 0
        #: Callbacks that wait for a reservation of so many bytes, and for space for answers.
        self._reservations: dict[Callable[[], None], int] = {}
        self._waiting: dict[Callable[[], None], int] = {}
        self._soon = soon
        self._exceeded = exceeded
        self._scheduled = False

    # The ledger

    def add(self, size: int) -> None:
        self.held += size
        if size > 0:
            if self.held > self._recent:
                self._recent = self.held
            if self.held > self.budget:
                self._schedule()
        elif self._reservations or self._waiting:
            self._schedule()

    def add_overhead(self, size: int) -> None:
        self.overhead += size
        if size > 0:
            self._recent = max(self._recent, self.held + self.overhead)
            if self.overhead > self.half:
                self._schedule()

    def reserve(self, count: int, size: int) -> None:
        self.reserved += count
        self.outstanding += size
        if size < 0 and self._reservations:
            self._schedule()

    def may_reserve(self, size: int, retry: Callable[[], None]) -> bool:
        if self._has_room_for(size):
            return True
        self._reservations[retry] = size
        return False

    def forget(self, later: Callable[[], None]) -> None:
        """Cancel the call of `later`."""
        self._reservations.pop(later, None)
        self._waiting.pop(later, None)

    def _has_room_for(self, size: int) -> bool:
        together = self.held + self.outstanding + size
        if together <= self.half or not self.reserved:
            return True
        return self.reserved < RESERVATIONS and together <= self._three_quarters

    @property
    def tight(self) -> bool:
        return self.held > self._quarter

    # Answers

    def exceeds_share(self, mine: int) -> bool:
        """Return whether a connection that holds `mine` bytes of responses has reached its
        share.
        """
        return self.held > (self.half if mine else self._three_quarters)

    def allows_single(self, size: int) -> bool:
        """Return whether one response of `size` bytes may be held above the budget."""
        return self.held - size <= self.half

    @property
    def has_waiting(self) -> bool:
        """Whether a request or a response waits for space."""
        return bool(self._reservations or self._waiting)

    def wait_for_space(self, later: Callable[[], None]) -> None:
        """Call `later` once when there is space again."""
        self._waiting[later] = 0

    # Freeing memory

    @property
    def exceeded(self) -> bool:
        """Whether connections must be closed at once."""
        return self.held > self.budget or self.overhead > self.half

    @property
    def above_half(self) -> bool:
        """Whether more than half of the budget is used."""
        return self.held > self.half

    @property
    def must_free(self) -> bool:
        """Whether connections that hold much memory and move few bytes must be closed."""
        return self.above_half or not all(map(self._has_room_for, self._reservations.values()))

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._soon(self._check)

    def _check(self) -> None:
        self._scheduled = False
        if self.exceeded:
            self._exceeded()
        asking = self._resume(self._reservations, self._has_room_for)
        waiting = self._resume(self._waiting, lambda _: not self.above_half)
        if asking or waiting:
            self._schedule()

    def _resume(self, those: dict[Callable[[], None], int], may: Callable[[int], bool]) -> bool:
        """Resume some of the waiting calls in order, while space lasts; return whether more
        follow.
        """
        for later, size in list(those.items())[:AT_ONCE]:
            if not may(size):
                return False
            those.pop(later, None)
            later()
        return bool(those)

    def trim_freed(self) -> None:
        """Return freed memory to the system if much is free and stays so; called once a second."""
        recent, self._recent = self._recent, self.held + self.overhead
        self._peak = max(self._peak, recent)
        if self._peak - recent >= WORTH_TRIMMING and recent <= self._peak // 2:
            self._peak = recent
            trim()


def trim() -> None:
    """Return freed memory to the system.

    (glibc keeps what was freed below the top of its heaps; other libraries have no such call.)
    """
    if _malloc_trim is not None:
        _malloc_trim(0)


def _find_trim() -> Callable[[int], int] | None:
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return None
    return found


_malloc_trim = _find_trim()
