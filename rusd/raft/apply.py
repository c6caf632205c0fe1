"""Applies committed entries to the state machine, a slice of work at a time.

Long work is done one slice a turn: what the turn does besides, and everything else on the event
loop, goes on between two slices. An exception in here ends the process.
"""

from collections.abc import Sequence
from time import perf_counter

from rusd.raft.core.core import Core
from rusd.raft.ports import Entry, Machine, Slices

#: Seconds from which an apply counts as slow: etcd's default of --warning-apply-duration.
SLOW = 0.1


class ApplyLoop:
    """The state machine's side of `Ready.entries`."""

    def __init__(self, core: Core, machine: Machine) -> None:
        self._core = core
        self._machine = machine
        self._slices: Slices | None = None
        self._began = 0.0
        #: Applies that took longer than SLOW.
        self.slow = 0

    @property
    def busy(self) -> bool:
        """Whether an apply is half done."""
        return self._slices is not None

    def step(self, entries: Sequence[Entry]) -> None:
        """Apply entries as one write, or do the next slice of the apply under way; then call the
        calls that wait for their results.
        """
        if self._slices is None:
            if not entries:
                return
            self._began = perf_counter()
            begun = self._machine.begin(entries)
            if not isinstance(begun, list):
                self._slices = begun.slices
                self._core.applying(begun.last)
                return
            results = begun
        else:
            try:
                next(self._slices)
            except StopIteration as end:
                self._slices = None
                results = end.value
            else:
                return
        if perf_counter() - self._began > SLOW:
            self.slow += 1
        for done, result in self._core.applied(self._machine.positions()[0], results):
            done(result)

    def drop(self) -> None:
        """Forget the apply under way: the state was replaced by a snapshot."""
        self._slices = None
