"""The time that connections may use in one turn of the loop, and their order.

All work that a connection causes (frames, header blocks, unpacking, pages, deadlines,
cancellations, writing) runs as the `work` of one `Worker`, through `TimeBudget.run`, or as a part
of it, through `run_early`. A turn ends when its time is used, not after a count of pieces: the rest
is deferred to later turns, so that Raft's messages and timers run in between. Deferred work gets at
most `BACKLOG` of a turn's time; the rest is for what arrives in it.

    run(worker) ── time left, and no deferred worker goes first ──▶ worker.work()
        │                                                              │ more
        └────────────────▶ deferred, ordered by time used ◀────────────┘
                                     │
                          next turn: the least used first

Fairness is by time used (start-time fair queueing): a worker that has used little goes before
those that have used much, and time it did not use while idle counts as `CREDIT` at most. New
connections enter one behind the other, a `QUANTUM` apart: however many come, each connection that
is known gets its turn after every new one. Fairness is per connection, not per host.

A clock measures the work, since no count of frames or bytes tells what a call costs. One piece (a
frame, a message to unpack, a page) is never divided: its length bounds how far a turn overruns.
After an overrun deferred work rests for as long as the turn overran, `REST` at most; otherwise a
client with large pieces only would take every turn, while a call of another client needs several.

Not measured here: TLS handshakes and records, and aiohttp's parser of HTTP/1.1, which run before
the door sees a byte (`docs/limits.md`).
"""

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable

from rusd.door.ports import Worker

#: Seconds of one turn of the loop for all connections, and for deferred work in it.
TURN = 0.006
BACKLOG = 0.003
#: Seconds of one worker before others get their turn.
QUANTUM = 0.001
#: Seconds that deferred work rests at most after a turn that overran.
REST = 0.05
#: Seconds by which a worker that was idle may be ahead of the others.
CREDIT = 0.005
#: Seconds of work after which the next turn is scheduled; less is not worth a callback.
UNNOTICED = 0.0005

#: When the worker at work must stop if there is none.
_NEVER = float("inf")


class TimeBudget:
    """The time budget of one loop."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        #: Seconds used in this turn.
        self._used = 0.0
        #: When the worker at work must stop.
        self._until = _NEVER
        self._queue: list[tuple[float, int, Worker]] = []
        self._order = itertools.count()
        #: What the worker that had its turn last had used.
        self._level = 0.0
        #: Where the last new connection began.
        self._entered = 0.0
        self._scheduled = False
        self._resting = False

    def enter(self) -> float:
        """Return the initial charge of a new connection: behind all known ones, and behind the new
        ones before it.
        """
        self._entered = max(self._entered, self._level) + QUANTUM
        return self._entered

    def spent(self) -> bool:
        """Return whether the running worker's time is over."""
        return self._clock() >= self._until

    @property
    def at_work(self) -> bool:
        """Whether a worker is at work."""
        return self._until < _NEVER

    def run(self, worker: Worker) -> None:
        """Run `worker` now if this turn has time for it, else later."""
        if worker.waiting:
            return
        if not self._has_time_for(worker):
            self.defer(worker)
        else:
            self._run_worker(worker, worker.work, TURN)

    def run_early(self, worker: Worker, work: Callable[[], bool]) -> None:
        """Run `work` of `worker` (see `Worker.work`) inside another callback, if `run` would run it
        now. Otherwise the worker runs later as usual.
        """
        if self.at_work or worker.waiting or not self._has_time_for(worker):
            return
        self._run_worker(worker, work, TURN)

    def _has_time_for(self, worker: Worker) -> bool:
        return self._used < TURN and not (self._queue and worker.used > self._level)

    def defer(self, worker: Worker) -> None:
        """Run `worker` in a later turn."""
        if worker.waiting:
            return
        worker.waiting = True
        worker.used = max(worker.used, self._level - CREDIT)
        heapq.heappush(self._queue, (worker.used, next(self._order), worker))
        self._schedule()

    def _run_worker(self, worker: Worker, work: Callable[[], bool], limit: float) -> None:
        start = self._clock()
        before, self._until = self._until, start + min(QUANTUM, limit - self._used)
        try:
            more = work()
        finally:
            taken = self._clock() - start
            self._until = before
            self._used += taken
            used = worker.used = max(worker.used, self._level - CREDIT) + taken
            if used > self._level and not self._queue:
                # No worker waits: time that one uses is time that the others leave unused.
                self._level = used
        if more:
            self.defer(worker)
        elif self._used > UNNOTICED:
            self._schedule()

    @property
    def idle(self) -> bool:
        """Whether no worker is deferred."""
        return not self._queue

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        """Begin a new turn: callbacks scheduled in the last one run before its I/O."""
        self._scheduled = False
        over, self._used = self._used - TURN, 0.0
        if over > 0 and not self._resting:
            self._resting = True
            asyncio.get_running_loop().call_later(min(over, REST), self._end_rest)
        self._run_deferred()

    def _end_rest(self) -> None:
        self._resting = False
        self._run_deferred()

    def _run_deferred(self) -> None:
        """Run deferred workers; during a rest only those with a smaller charge than the last
        worker, which caused the overrun.
        """
        queue, limit = self._queue, self._level if self._resting else float("inf")
        try:
            while queue and self._used < BACKLOG and queue[0][0] < limit:
                used, _, worker = heapq.heappop(queue)
                self._level = max(self._level, used)
                worker.waiting = False
                self._run_worker(worker, worker.work, BACKLOG)
        finally:
            if queue and queue[0][0] < limit:
                self._schedule()
