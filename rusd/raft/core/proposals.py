"""Proposals on their way: group commit, forwarding, and what happens when a leader is lost.

A proposal gets a sequence number that only this member uses, and only once. What was proposed in
one loop turn travels as one batch: into one log entry on the leader, in one frame from a follower.
When the entry is applied *here*, the number finds the waiting call.

A batch is tagged with the term it was sent in, and a leader takes only batches of its own term, in
sequence order, skipping what it has (a broken connection makes followers send again). Terms in the
log never go down. So once an entry of a later term is applied here, a proposal sent in an earlier
term that did not come back is provably not in the log, now or ever: it is proposed again, under a
new number. Clients see a slow write instead of an error, and nothing is applied twice.

No clock, no socket, no futures: `Waiting.done` is whatever the caller wants called.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from rusd.base.errors import Refusal
from rusd.raft.core.syncobj import REGULAR
from rusd.raft.ids import first_number
from rusd.raft.ports import CHANGE

#: (origin member id, sequence, payload): one request as it stands in an entry.
Proposed = tuple[int, int, bytes]

#: Limits of one entry; a larger single request travels alone.
ENTRY_REQUESTS = 1000
ENTRY_BYTES = 1 << 20
#: Waiting calls above which new ones are refused.
MAX_WAITING = 20_000
MAX_WAITING_BYTES = 256 << 20
#: A member counts at most 2^40 proposals in one life before its next one could be met.
LIFE_SHIFT = 40

#: Between type byte and requests of an entry that changes the membership: never used by msgpack.
_CHANGE_MARK = b"\xc1"

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[tuple[int, int, bytes]]).decode


@dataclass(slots=True)
class Waiting:
    """A call that waits for its proposal."""

    payload: bytes
    #: Called once with the machine's result or an exception.
    done: Callable[[object], None]
    #: When it is given up, seconds.
    deadline: float
    #: Term it was sent in; 0 while it was not.
    term: int = 0


def encode_entry(requests: Sequence[Proposed]) -> bytes:
    """The command of one log entry."""
    return REGULAR + _encode(requests)


def encode_change(request: Proposed) -> bytes:
    """The command of an entry that changes the membership."""
    return REGULAR + _CHANGE_MARK + _encode([request])


def is_change(command: bytes) -> bool:
    """Whether an entry changes the membership."""
    return command[:2] == REGULAR + _CHANGE_MARK


def decode_entry(command: bytes) -> list[Proposed]:
    """The requests of a log entry; PySyncObj's own no-op entries hold none."""
    if command[:1] != REGULAR:
        return []
    return _decode(memoryview(command)[2 if is_change(command) else 1 :])


def split_changes(requests: Iterable[Proposed]) -> tuple[list[Proposed], list[Proposed]]:
    """(all others, changes of the membership)"""
    others: list[Proposed] = []
    changes: list[Proposed] = []
    for request in requests:
        (changes if request[2] and request[2][0] >= CHANGE else others).append(request)
    return others, changes


def entries_of(requests: Iterable[Proposed]) -> Iterator[list[Proposed]]:
    """Requests in their order, cut where an entry is full."""
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
    """What this member's clients wait for."""

    def __init__(self, member: int) -> None:
        self._member = member
        # The high bits tell the lives of a member apart (see `Inbox`).
        self._next = first_number()
        self.waiting: dict[int, Waiting] = {}
        self._unsent: deque[int] = deque()
        self._bytes = 0

    def full(self) -> bool:
        """True when a new proposal must be refused."""
        return len(self.waiting) >= MAX_WAITING or self._bytes >= MAX_WAITING_BYTES

    def add(self, payload: bytes, done: Callable[[object], None], deadline: float) -> None:
        self._enqueue(Waiting(payload, done, deadline))
        self._bytes += len(payload)

    def _enqueue(self, waiting: Waiting) -> None:
        self._next += 1
        self.waiting[self._next] = waiting
        self._unsent.append(self._next)

    def unsent(self) -> bool:
        return bool(self._unsent)

    def take(self, term: int) -> list[Proposed]:
        """Everything not sent yet, now sent in `term`."""
        taken: list[Proposed] = []
        for sequence in self._unsent:
            waiting = self.waiting.get(sequence)
            if waiting is not None:
                waiting.term = term
                taken.append((self._member, sequence, waiting.payload))
        self._unsent.clear()
        return taken

    def sent_in(self, term: int) -> list[Proposed]:
        """What was sent in `term` and is still waited for, to be sent to the same leader again."""
        return [
            (self._member, sequence, waiting.payload)
            for sequence, waiting in self.waiting.items()
            if waiting.term == term
        ]

    def wanted(self, origin: int, sequence: int) -> bool:
        """True if a call here waits for this request."""
        return origin == self._member and sequence in self.waiting

    def hold(self, sequence: int) -> None:
        """Its end is certain and only takes time: no deadline any more."""
        if (waiting := self.waiting.get(sequence)) is not None:
            waiting.deadline = float("inf")

    def resolve(self, sequence: int, result: object) -> None:
        waiting = self.waiting.pop(sequence, None)
        if waiting is not None:
            self._bytes -= len(waiting.payload)
            waiting.done(result)

    def lost_before(self, term: int) -> None:
        """An entry of `term` was applied: what was sent in an earlier term will never be. It is
        queued again."""
        lost = [number for number, waiting in self.waiting.items() if 0 < waiting.term < term]
        for number in lost:
            waiting = self.waiting.pop(number)
            waiting.term = 0
            self._enqueue(waiting)

    def fail(self, error: type[Refusal], which: Callable[[Waiting], bool] = lambda _: True) -> None:
        """Fail waiting calls with an `error` each; their proposals may still be applied."""
        for number in [number for number, one in self.waiting.items() if which(one)]:
            self.resolve(number, error())


class Inbox:
    """What the leader has taken from each member in its term.

    Numbers rise within one life of a member only: one that was restarted begins anywhere, and
    must not find its proposals taken for old ones.
    """

    def __init__(self) -> None:
        self._term = 0
        #: (origin, life) -> highest sequence taken.
        self._highest: dict[tuple[int, int], int] = {}

    def accept(self, term: int, batch: Iterable[Proposed]) -> list[Proposed]:
        """Requests of the batch that were not taken before in `term` (the leader's own)."""
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
