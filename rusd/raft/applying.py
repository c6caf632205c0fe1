"""Committed entries to the state machine, its results to the calls that wait."""

from collections.abc import Sequence

from rusd.raft.journal import LogEntry
from rusd.raft.ports import Entry, Machine, Position, Request
from rusd.raft.proposals import Proposals, decode_entry


class Applier:
    """The core's `Apply`. An exception in here ends the process."""

    def __init__(self, member: int, machine: Machine, proposals: Proposals) -> None:
        self._member = member
        self._machine = machine
        self._proposals = proposals
        #: Term of the last applied entry.
        self.term = machine.positions()[0].term

    def __call__(self, entries: Sequence[LogEntry]) -> None:
        """Apply entries as one write, then resolve the waiting calls."""
        wanted, member = self._proposals.wanted, self._member
        decoded = [
            (Position(index, term), decode_entry(command)) for command, index, term in entries
        ]
        results = self._machine.apply(
            [
                Entry(
                    position,
                    [
                        Request(payload, wanted(origin, sequence))
                        for origin, sequence, payload in requests
                    ],
                )
                for position, requests in decoded
            ]
        )
        at = 0
        for _, requests in decoded:
            for origin, sequence, _ in requests:
                if origin == member:
                    self._proposals.resolve(sequence, results[at])
                at += 1
        if at != len(results):
            raise RuntimeError(f"{at} requests were applied, with {len(results)} results")
        self._reached(entries[-1][2])

    def _reached(self, term: int) -> None:
        if term != self.term:
            self.term = term
            self._proposals.lost_before(term)

    def installed(self, last: Position) -> None:
        """The state was replaced by a snapshot that ends at `last`."""
        self.term = last.term
