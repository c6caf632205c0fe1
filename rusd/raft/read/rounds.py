"""The leader's side of read index: the commit index, confirmed by a quorum (Raft thesis 6.4).

A leader opens at most one round a step for all reads that came in it: it notes its commit index and
asks the others whether they still follow it in its term. A quorum of answers to this round, or to a
later one, proves that it led when the round was opened; reads of the round may then be served by
any member that has applied the noted index. Nothing here touches a socket or a clock.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

#: Called with the read index once it is confirmed, or with None when leadership was lost.
Confirmed = Callable[[int | None], None]


@dataclass
class _Round:
    number: int
    index: int
    readers: list[Confirmed]
    confirmed_by: set[int] = field(default_factory=set)


class ReadIndexRounds:
    """The rounds of one leader."""

    def __init__(self, voters: int) -> None:
        """`voters`: number of voters in the cluster."""
        self._voters = voters
        self._number = 0
        self._waiting: list[Confirmed] = []
        self._rounds: deque[_Round] = deque()

    def add(self, reader: Confirmed) -> None:
        """Add a read to the next round."""
        self._waiting.append(reader)

    def open(self, commit_index: int) -> int | None:
        """Open a round for the waiting reads; returns its number, to be sent to the other members,
        or None if nothing waits. The caller leads, and has applied an entry of its term.
        """
        if not self._waiting:
            return None
        self._number += 1
        readers, self._waiting = self._waiting, []
        if self._voters == 1:
            for reader in readers:
                reader(commit_index)
            return None
        self._rounds.append(_Round(self._number, commit_index, readers))
        return self._number

    def confirm(self, member: int, number: int) -> None:
        """Count a member that confirmed this leader after round `number` was opened."""
        for one in self._rounds:
            if one.number > number:
                break
            one.confirmed_by.add(member)
        while self._rounds and 2 * (len(self._rounds[0].confirmed_by) + 1) > self._voters:
            done = self._rounds.popleft()
            for reader in done.readers:
                reader(done.index)

    def awaits(self, number: int) -> bool:
        """Return whether a round up to `number` is open."""
        return bool(self._rounds) and self._rounds[0].number <= number

    def unanswered(self) -> int | None:
        """Returns the number of the newest open round, to be sent again."""
        return self._rounds[-1].number if self._rounds else None

    def reopen(self, voters: int) -> None:
        """Restart all rounds as one after a membership change: a member that confirmed a round may
        have no vote any more.
        """
        self._voters = voters
        self._waiting = [reader for one in self._rounds for reader in one.readers] + self._waiting
        self._rounds.clear()

    def fail(self) -> None:
        """Drop all rounds after the loss of leadership."""
        readers = [reader for one in self._rounds for reader in one.readers] + self._waiting
        self._rounds.clear()
        self._waiting = []
        for reader in readers:
            reader(None)
