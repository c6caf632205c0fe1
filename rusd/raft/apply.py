"""Applies committed entries to the state machine, a slice of work at a time.

Long work is done one slice a turn: what the turn does besides, and everything else on the event
loop, goes on between two slices. An exception in here ends the process.
"""

from collections.abc import Sequence
from time import perf_counter

from rusd.base.logs import LimitedLog, get_logger, go_duration
from rusd.raft.core.core import Core
from rusd.raft.core.ready import Answer
from rusd.raft.ports import Entry, Machine, Slices

log = LimitedLog(get_logger(__name__))

#: Seconds of a turn for linearizable reads, each of which may be a range of a thousand keys.
READS_SECONDS = 0.01


class ApplyLoop:
    """Applies `Ready.entries` to the state machine."""

    def __init__(self, core: Core, machine: Machine, slow: float) -> None:
        """`slow`: seconds from which an apply is logged (`--warning-apply-duration`)."""
        self._core = core
        self._machine = machine
        self._slices: Slices | None = None
        self._began = 0.0
        self._requests = 0
        self._threshold = slow
        #: Applies that took longer.
        self.slow = 0

    @property
    def busy(self) -> bool:
        """Whether an apply is unfinished."""
        return self._slices is not None

    def step(self, entries: Sequence[Entry]) -> None:
        """Apply entries as one write, or run the next slice of the unfinished apply; then settle
        the calls that wait for their results.
        """
        if self._slices is None:
            if not entries:
                return
            self._began = perf_counter()
            begun = self._machine.begin(entries)
            if not isinstance(begun, list):
                self._slices = begun.slices
                self._requests = sum(len(entry.requests) for entry in entries)
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
        took = perf_counter() - self._began
        if took > self._threshold:
            if entries:
                self._requests = sum(len(entry.requests) for entry in entries)
            self._note_slow(took)
        answers, reads = self._core.applied(self._machine.positions()[0], results)
        for done, result in answers:
            done(result)
        serve(self._core, reads)

    def _note_slow(self, took: float) -> None:
        """Log a slow apply in etcd's format, without the request, which Raft does not decode."""
        self.slow += 1
        fields = {
            "took": go_duration(took),
            "expected-duration": go_duration(self._threshold),
            "requests": self._requests,
            "applied-index": self._machine.positions()[0].index,
        }
        log.warning("apply request took too long", fields)

    def drop(self) -> None:
        """Forget the unfinished apply, since a snapshot replaced the state."""
        self._slices = None


def serve(core: Core, reads: Sequence[Answer]) -> None:
    """Serve reads for `READS_SECONDS`, at least one; the rest in the next turn."""
    if not reads:
        return
    end = perf_counter() + READS_SECONDS
    for number, (done, outcome) in enumerate(reads, 1):
        done(outcome)
        if perf_counter() > end:
            core.put_back(reads[number:])
            return
