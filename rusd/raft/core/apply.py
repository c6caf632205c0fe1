"""Committed entries to the state machine, its results to the calls that wait."""

from collections.abc import Sequence

from rusd.raft.core.proposals import Proposals, Proposed, decode_entry
from rusd.raft.log.journal import LogEntry
from rusd.raft.ports import Entry, Machine, Position, Request, Slices, Unfinished


class Applier:
    """The core's `Apply`. An exception in here ends the process.

    Long work is done a slice at a call, and so in a turn: what the turn does besides, and whatever
    else the loop has to do, goes on between two slices.
    """

    def __init__(self, member: int, machine: Machine, proposals: Proposals) -> None:
        self._member = member
        self._machine = machine
        self._proposals = proposals
        #: Term of the last applied entry.
        self.term = machine.positions()[0].term
        #: What is being applied, and how it goes on if that takes more than one call.
        self._entries: list[tuple[Position, list[Proposed]]] = []
        self._slices: Slices | None = None

    @property
    def busy(self) -> bool:
        """Whether an apply is half done."""
        return self._slices is not None

    def __call__(self, entries: Sequence[LogEntry]) -> int:
        """Apply entries as one write, then resolve the waiting calls. Returns how many of them
        were applied; 0 if the next call, with the same entries, has to go on with them."""
        if self._slices is None:
            begun = self._begin(entries)
            if isinstance(begun, list):
                return self._resolve(begun)
            self._slices = begun.slices
            self._hold(begun.last)
            return 0
        try:
            next(self._slices)
        except StopIteration as end:
            self._slices = None
            return self._resolve(end.value)
        return 0

    def _begin(self, entries: Sequence[LogEntry]) -> list[object] | Unfinished:
        wanted = self._proposals.wanted
        self._entries = [
            (Position(index, term), decode_entry(command)) for command, index, term in entries
        ]
        return self._machine.begin(
            [
                Entry(
                    position,
                    [
                        Request(payload, wanted(origin, sequence))
                        for origin, sequence, payload in requests
                    ],
                )
                for position, requests in self._entries
            ]
        )

    def _hold(self, last: int) -> None:
        """Calls whose requests are being applied are not given up: they succeed, if late."""
        for position, requests in self._entries:
            if position.index > last:
                break
            for origin, sequence, _ in requests:
                if origin == self._member:
                    self._proposals.hold(sequence)

    def _resolve(self, results: list[object]) -> int:
        reached = self._machine.positions()[0]
        member = self._member
        at = count = 0
        for position, requests in self._entries:
            if position.index > reached.index:
                break
            for origin, sequence, _ in requests:
                if origin == member:
                    self._proposals.resolve(sequence, results[at])
                at += 1
            count += 1
        if at != len(results) or not count:
            raise RuntimeError(f"{at} requests were applied, with {len(results)} results")
        self._entries = []
        self._reached(reached.term)
        return count

    def _reached(self, term: int) -> None:
        if term != self.term:
            self.term = term
            self._proposals.lost_before(term)

    def installed(self, last: Position) -> None:
        """The state was replaced by a snapshot that ends at `last`."""
        self._slices = None
        self._entries = []
        self.term = last.term
