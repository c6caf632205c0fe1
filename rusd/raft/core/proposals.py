"""Proposals of this member's clients until they are applied, and what happens to them when a leader
is lost.

A proposal gets a sequence number that only this member uses, and only once. When its entry is
applied *here*, the number finds the waiting call.

A batch is tagged with the term it was sent in, and a leader takes only batches of its own term, in
sequence order, skipping what it has (a broken connection makes followers send again). Terms in the
log never go down. So once an entry of a later term is applied here, a proposal sent in an earlier
term that did not come back is provably not in the log, now or ever: it is proposed again, under a
new number. Clients see a slow write instead of an error, and nothing is applied twice.

No clock, no socket, no futures: `Waiting.done` is what the caller wants called, and the calls are
handed out as answers (`Ready`).
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from rusd.base.errors import Refusal
from rusd.raft.commands import Proposed
from rusd.raft.core.ready import Answer

#: Limits of one entry; a larger single request travels alone.
ENTRY_REQUESTS = 1000
ENTRY_BYTES = 1 << 20
#: Waiting proposals above which new ones are refused.
MAX_WAITING = 20_000
MAX_WAITING_BYTES = 256 << 20
#: The low bits of a sequence number count the proposals of one incarnation of a member, the high
#: bits distinguish its incarnations.
LIFE_SHIFT = 40


@dataclass(slots=True)
class Waiting:
    """A proposal with a waiting call."""

    payload: bytes
    #: Called once with the machine's result or an exception.
    done: Callable[[object], None]
    #: When it is given up, seconds.
    deadline: float
    #: Term it was sent in; 0 while it was not.
    term: int = 0


def entries_of(requests: Iterable[Proposed]) -> Iterator[list[Proposed]]:
    """Split requests, in order, into entries of limited size."""
    group: list[Proposed] = []
    size = 0
    for request in requests:
        length = len(request[2])
        if group and (len(group) == ENTRY_REQUESTS or size + length > ENTRY_BYTES):
            yield group
            group, size = [], 0
        group.append(request)
        size += length
    if group:
        yield group


class Proposals:
    """The proposals of this member's clients."""

    def __init__(self, member: int, first_number: int) -> None:
        """`first_number`: where this life's sequence numbers begin (`ids.py`)."""
        self._member = member
        self._next = first_number
        self.waiting: dict[int, Waiting] = {}
        self._unsent: deque[int] = deque()
        self._bytes = 0
        #: How many were given up.
        self.failed = 0

    def full(self) -> bool:
        """Return whether a new proposal must be refused."""
        return len(self.waiting) >= MAX_WAITING or self._bytes >= MAX_WAITING_BYTES

    def add(self, payload: bytes, done: Callable[[object], None], deadline: float) -> None:
        """Add a proposal; it is sent with the next step."""
        self._enqueue(Waiting(payload, done, deadline))
        self._bytes += len(payload)

    def _enqueue(self, waiting: Waiting) -> None:
        self._next += 1
        self.waiting[self._next] = waiting
        self._unsent.append(self._next)

    def unsent(self) -> bool:
        """Return whether proposals wait to be sent."""
        return bool(self._unsent)

    def take(self, term: int) -> list[Proposed]:
        """Returns all unsent proposals; they count as sent in `term`."""
        taken: list[Proposed] = []
        for sequence in self._unsent:
            waiting = self.waiting.get(sequence)
            if waiting is not None:
                waiting.term = term
                taken.append((self._member, sequence, waiting.payload))
        self._unsent.clear()
        return taken

    def sent_in(self, term: int) -> list[Proposed]:
        """Returns the proposals sent in `term` without a result, to be sent to the same leader
        again.
        """
        return [
            (self._member, sequence, waiting.payload)
            for sequence, waiting in self.waiting.items()
            if waiting.term == term
        ]

    def hold(self, sequence: int) -> None:
        """Remove the deadline of a proposal that is being applied."""
        if (waiting := self.waiting.get(sequence)) is not None:
            waiting.deadline = float("inf")

    def resolve(self, sequence: int, result: object) -> Answer | None:
        """Returns the answer to the call that waits for a proposal, if there is one."""
        waiting = self.waiting.pop(sequence, None)
        if waiting is None:
            return None
        self._bytes -= len(waiting.payload)
        return waiting.done, result

    def lost_before(self, term: int) -> None:
        """Queue the proposals of terms before `term` again: an entry of `term` was applied, so that
        theirs never will be.
        """
        lost = [number for number, waiting in self.waiting.items() if 0 < waiting.term < term]
        for number in lost:
            waiting = self.waiting.pop(number)
            waiting.term = 0
            self._enqueue(waiting)

    def fail(
        self, error: type[Refusal], which: Callable[[Waiting], bool] = lambda _: True
    ) -> list[Answer]:
        """Fail proposals with an `error` each; they may still be applied later."""
        numbers = [number for number, one in self.waiting.items() if which(one)]
        answers = [self.resolve(number, error()) for number in numbers]
        self.failed += len(numbers)
        return [answer for answer in answers if answer is not None]


class ForwardedBatches:
    """Forwarded proposals that a leader accepted from each member in its term.

    Sequence numbers rise within one incarnation of a member only: a member that
    was restarted begins at a random number, and its proposals must not be mistaken for earlier
    ones.
    """

    def __init__(self) -> None:
        self._term = 0
        #: (origin, life) -> highest sequence taken.
        self._highest: dict[tuple[int, int], int] = {}

    def accept(self, term: int, batch: Iterable[Proposed]) -> list[Proposed]:
        """Returns the requests of the batch that were not accepted before in `term` (the leader's
        own).
        """
        if term != self._term:
            self._term = term
            self._highest.clear()
        fresh = []
        for request in batch:
            origin, sequence, _ = request
            life = origin, sequence >> LIFE_SHIFT
            if sequence > self._highest.get(life, 0):
                self._highest[life] = sequence
                fresh.append(request)
        return fresh
