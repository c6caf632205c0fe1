"""Memory for what clients have under way: unfinished requests, and answers they have not taken.

One budget for all connections of a member:

    held ≤ a quarter      nothing is held back
    above a quarter       connections let few requests begin beside those promised (`h2/inbound.py`)
    above half            (with what large requests were promised and have not sent) `RESERVATIONS`
                          large requests are let in at a time
                          on connections that hold answers already, streams take no more messages
                          and long answers are not begun
                          a connection that moves less than a sixteenth of what it holds or was
                          promised in a second, for `IDLE_SECONDS` seconds, is cut off, the largest
                          first, until there is room
    above three quarters  connections that hold no answers are held back too
    above the budget      the connection that holds most is cut off at once

What is held back waits without holding anything, and goes on in its order when there is room.
Of what is no request and no answer (streams that are many, their headers, blocks that do not end)
clients may have half the budget besides; above that the connection that has most goes at once.

Complete requests that are worked on count, but are no reason to cut a connection off. Freed memory
is returned to the system when a good part of it is free.
"""

import ctypes
import os
from collections.abc import Callable
from pathlib import Path

#: Large requests that may be let in at a time when more than half of the budget is used.
RESERVATIONS = 16
#: Seconds for which a connection may hold much and move little while there is little room.
IDLE_SECONDS = 3
#: The part of its bytes that a connection must move in a second to be left alone.
MOVED_PART = 16
#: Of those that wait, so many go on in one turn of the loop.
AT_ONCE = 16
#: Bytes freed that are worth giving back.
WORTH_TRIMMING = 16 << 20

#: Bounds of the budget that follows from the size of the machine or container: an eighth of it.
PART_OF_MACHINE = 8
LEAST, MOST = 32 << 20, 256 << 20

_CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def default_budget(largest: int) -> int:
    """Bytes; at least four times the `largest` request."""
    part = memory_of_machine() // PART_OF_MACHINE
    return max(min(max(part, LEAST), MOST), 4 * largest)


def memory_of_machine() -> int:
    """Bytes this process may use: those of its container, if that has a limit, or the machine's."""
    sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in _CGROUP_LIMITS:
        try:
            sizes.append(int(path.read_text()))
        except (OSError, ValueError):
            continue  # no such hierarchy, or "max"
    return min(sizes)


class MemoryBudget:
    """The budget; the ledger of every connection (`rusd/door/h2/inbound.py`)."""

    def __init__(
        self,
        budget: int,
        soon: Callable[[Callable[[], None]], object],
        exceeded: Callable[[], None],
    ) -> None:
        """`soon` runs something after what runs now; `exceeded` makes room at once."""
        self.budget = budget
        self.held = 0
        self.half = budget // 2
        #: Bytes of streams and headers.
        self.overhead = 0
        self._quarter = budget // 4
        self._three_quarters = budget // 4 * 3
        #: Large requests that are let in, and bytes that they have yet to send.
        self.reserved = 0
        self.outstanding = 0
        #: The most that was held since memory was given back, and since the last look.
        self._peak = 0
        self._recent = 0
        #: Those that wait for a promise of so many bytes, and for room for answers.
        self._asking: dict[Callable[[], None], int] = {}
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
        elif self._asking or self._waiting:
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
        if size < 0 and self._asking:
            self._schedule()

    def may_reserve(self, size: int, retry: Callable[[], None]) -> bool:
        if self._has_room_for(size):
            return True
        self._asking[retry] = size
        return False

    def forget(self, later: Callable[[], None]) -> None:
        """It is not to be called any more."""
        self._asking.pop(later, None)
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
        """Whether a connection that holds `mine` bytes must not hold more now."""
        return self.held > (self.half if mine else self._three_quarters)

    def wait_for_space(self, later: Callable[[], None]) -> None:
        """Call `later` once when there is room again."""
        self._waiting[later] = 0

    # Making room

    @property
    def exceeded(self) -> bool:
        """Whether somebody has to go at once."""
        return self.held > self.budget or self.overhead > self.half

    @property
    def above_half(self) -> bool:
        """Whether half is used."""
        return self.held > self.half

    @property
    def must_free(self) -> bool:
        """Whether those that hold much and move little have to go."""
        return self.above_half or not all(map(self._has_room_for, self._asking.values()))

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._soon(self._look)

    def _look(self) -> None:
        self._scheduled = False
        if self.exceeded:
            self._exceeded()
        asking = self._go_on(self._asking, self._has_room_for)
        waiting = self._go_on(self._waiting, lambda _: not self.above_half)
        if asking or waiting:
            self._schedule()

    def _go_on(self, those: dict[Callable[[], None], int], may: Callable[[int], bool]) -> bool:
        """Let some go on, in their order, while they may; whether others may follow."""
        for later, size in list(those.items())[:AT_ONCE]:
            if not may(size):
                return False
            those.pop(later, None)
            later()
        return bool(those)

    def trim_freed(self) -> None:
        """Once a second: return freed memory to the system, if much is free and stays so."""
        recent, self._recent = self._recent, self.held + self.overhead
        self._peak = max(self._peak, recent)
        if self._peak - recent >= WORTH_TRIMMING and recent <= self._peak // 2:
            self._peak = recent
            trim()


def trim() -> None:
    """glibc keeps what was freed below the top of its heaps; other libraries have no such call."""
    if _malloc_trim is not None:
        _malloc_trim(0)


def _find_trim() -> Callable[[int], int] | None:
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return None
    return found


_malloc_trim = _find_trim()
