"""Every member's side of read index: the reads, and the index that each waits for.

Reads of one step travel together: the leader opens one round for them (`rounds.py`), a follower
sends one request to the leader; with the confirmed index they wait until it is applied here.

A request without an answer is repeated under the same number until its reads' deadlines. The first
answer serves them, whichever copy it belongs to and whichever leader sent it: each leader confirms
an index that is not older than anything acknowledged before it received the request. A slow link
therefore delays reads, and never starves them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rusd.base.errors import Refusal

#: Seconds after which a follower repeats a request to the leader.
RETRY = 0.5
#: Reads that are released at a time. Each is served there and then, and a thousand long ones would
#: hold up heartbeats.
PORTION = 128
#: Reads that wait on one member, at most; further ones are refused with TooManyReads
#: (`LinearizableReads.full`).
MAX_WAITING_READS = 20_000


class Read(NamedTuple):
    """A waiting read."""

    #: Called once: with None when it may read, or with an exception.
    done: Callable[[object], None]
    #: When it is given up, seconds.
    deadline: float


#: A callback and what it is called with.
Released = tuple[Callable[[object], None], object]


@dataclass(slots=True)
class _Request:
    reads: list[Read]
    asked_at: float


class WaitingReads:
    """The reads of one member."""

    def __init__(self, first_number: int) -> None:
        """`first_number`: the first request number of this start (`ids.py`)."""
        self._new: list[Read] = []
        #: Without an answer, by number.
        self._requests: dict[int, _Request] = {}
        #: Numbers of requests that are to be repeated.
        self._again: list[int] = []
        self._last_number = first_number
        #: Confirmed: (read index, reads), waiting to be applied.
        self._confirmed: list[tuple[int, list[Read]]] = []
        #: These may be served, a portion at a time.
        self._ready: list[Read] = []
        #: Reads in all of these.
        self.count = 0
        #: Reads that were given up, and requests to the leader that were repeated.
        self.failed = 0
        self.repeated = 0

    def add(self, read: Read) -> None:
        """Add a read."""
        self.count += 1
        self._new.append(read)

    def pending(self) -> bool:
        """Return whether a request must be sent or repeated."""
        return bool(self._new or self._again)

    def take(self) -> list[Read]:
        """Returns all reads without a confirmed index, which a leader confirms itself."""
        taken = [read for request in self._requests.values() for read in request.reads]
        taken += self._new
        self._new, self._again = [], []
        self._requests.clear()
        return taken

    def ask(self, now: float) -> list[int]:
        """Returns the numbers of the requests to send to the leader: those to be repeated, and one
        for all new reads.
        """
        numbers = [number for number in self._again if number in self._requests]
        self._again = []
        for number in numbers:
            self._requests[number].asked_at = now
        self.repeated += len(numbers)
        if self._new:
            self._last_number += 1
            self._requests[self._last_number] = _Request(self._new, now)
            self._new = []
            numbers.append(self._last_number)
        return numbers

    def answered(self, number: int, index: int) -> None:
        """Handle the leader's confirmation of `index` for a request."""
        request = self._requests.pop(number, None)
        if request is not None:
            self.confirmed(index, request.reads)

    def confirmed(self, index: int | None, reads: list[Read]) -> None:
        """Set the confirmed `index` of these reads; None: request it again."""
        if index is None:
            self._new += reads
        else:
            self._confirmed.append((index, reads))

    def ask_again(self, now: float, *, everything: bool = False) -> None:
        """Repeat requests without an answer for RETRY (all of them after a leader change)."""
        if everything:
            for request in self._requests.values():
                request.asked_at = float("-inf")
        self._again = [
            number for number, request in self._requests.items() if now - request.asked_at > RETRY
        ]

    def release(self, applied: int) -> list[Released]:
        """Returns the reads whose index is applied, at most `PORTION`."""
        if self._confirmed:
            for wanted, reads in self._confirmed:
                if wanted <= applied:
                    self._ready += reads
            self._confirmed = [one for one in self._confirmed if one[0] > applied]
        if not self._ready:
            return []
        portion, self._ready = self._ready[:PORTION], self._ready[PORTION:]
        self.count -= len(portion)
        return [(read.done, None) for read in portion]

    def put_back(self, reads: Sequence[Released]) -> None:
        """Take reads back that were released and not served; they are first in the next portion."""
        self._ready = [Read(done, float("inf")) for done, _ in reads] + self._ready
        self.count += len(reads)

    @property
    def more(self) -> bool:
        """Whether reads that may be served wait for the next portion."""
        return bool(self._ready)

    def expire(self, now: float, error: type[Refusal]) -> list[Released]:
        """Fail reads whose deadline has passed, with an `error` each."""
        late: list[Released] = []

        def alive(reads: list[Read]) -> list[Read]:
            late.extend((read.done, error()) for read in reads if read.deadline <= now)
            return [read for read in reads if read.deadline > now]

        self._new = alive(self._new)
        self._ready = alive(self._ready)
        self._confirmed = [(index, alive(reads)) for index, reads in self._confirmed]
        for number, request in list(self._requests.items()):
            request.reads = alive(request.reads)
            if not request.reads:
                del self._requests[number]
        self.count -= len(late)
        self.failed += len(late)
        return late

    def fail(self, error: type[Refusal]) -> list[Released]:
        """Fail all reads."""
        return self.expire(float("inf"), error)
