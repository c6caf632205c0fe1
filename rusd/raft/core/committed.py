"""Committed entries on their way through the state machine, and its results back to the calls.

`take` hands out the next entries, once; `resolve` gets the state machine's position and its
results for all of them or the first ones, and finds the waiting calls. In between the state machine
may take several slices of work, while steps go on.
"""

from collections.abc import Sequence

from rusd.raft.commands import Proposed, decode_entry
from rusd.raft.core.proposals import Proposals
from rusd.raft.core.ready import Answer
from rusd.raft.ports import Entry, LogEntry, Position, Request


class CommittedEntries:
    """The entries that the state machine is applying."""

    def __init__(self, member: int, proposals: Proposals) -> None:
        self._member = member
        self._proposals = proposals
        self._entries: list[tuple[Position, list[Proposed]]] = []

    @property
    def applying(self) -> bool:
        """Whether entries were handed to the state machine whose results have not come back."""
        return bool(self._entries)

    def take(self, entries: Sequence[LogEntry]) -> list[Entry]:
        """Returns log entries as the state machine takes them."""
        member, waiting = self._member, self._proposals.waiting
        self._entries = [
            (Position(index, term), decode_entry(command)) for command, index, term in entries
        ]
        return [
            Entry(
                position,
                [
                    Request(payload, origin == member and sequence in waiting)
                    for origin, sequence, payload in requests
                ],
            )
            for position, requests in self._entries
        ]

    def hold(self, last: int) -> None:
        """Remove the deadlines of calls that wait for entries up to index `last`, since these are
        being applied.
        """
        for position, requests in self._entries:
            if position.index > last:
                break
            for origin, sequence, _ in requests:
                if origin == self._member:
                    self._proposals.hold(sequence)

    def resolve(self, reached: Position, results: Sequence[object]) -> list[Answer]:
        """Take the results of the entries up to `reached`, one for each request; return the answers
        to this member's calls.
        """
        answers: list[Answer] = []
        at = count = 0
        for position, requests in self._entries:
            if position.index > reached.index:
                break
            count += 1
            if not self._proposals.waiting:
                at += len(requests)
                continue
            for origin, sequence, _ in requests:
                if origin == self._member:
                    answer = self._proposals.resolve(sequence, results[at])
                    if answer is not None:
                        answers.append(answer)
                at += 1
        if at != len(results) or not count:
            raise RuntimeError(f"{at} requests were applied, with {len(results)} results")
        self._entries = []
        return answers

    def drop(self) -> None:
        """Forget all entries, since a snapshot replaced the state."""
        self._entries = []
