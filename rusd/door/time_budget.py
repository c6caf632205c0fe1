"""The time the door may take of one turn of the loop, and which connection comes next.

Everything a connection causes (frames, header blocks, unpacking, pages, deadlines, cancellations,
writing) runs as the `work` of one `Worker`, through `Budget.run`. A turn ends when its time is up,
not when a count is: what is left is put off to later turns, so that Raft's messages and timers, and
other connections, come between. Of a turn's time the work put off gets `BACKLOG` at most; the rest
is for what arrives in it.

    run(worker) ── time left, nobody owed before it ──▶ worker.work()
        │                                                 │ more
        └──────────────▶ put off, by what each has used ◀─┘
                                   │
                        next turn: the least used first

Fairness is by time used (start-time fair queueing): a worker that has used little comes before
those that have used much, and what it did not use while it was silent counts as `CREDIT` at most.
New connections begin one behind the other, a `QUANTUM` apart: however many come, and go after one
request each, those that are known get their turn after each of them.

Measured with a clock, since no count of frames or bytes says what a call takes. One piece of work
(a frame, a message to unpack, one page) is never cut: it bounds how far a turn runs over its time.
What is put off then rests for as long as the turn ran over, `REST` at most: else a client with
nothing but large pieces would take every turn, and a call of another client needs several.
"""

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable

from rusd.door.ports import Worker

#: Seconds of one turn of the loop for all connections; for what earlier turns put off.
TURN = 0.006
BACKLOG = 0.003
#: Seconds of one worker before others get their turn.
QUANTUM = 0.001
#: Seconds that work put off rests at most after a turn that ran over its time.
REST = 0.05
#: Seconds by which a worker that was silent may be ahead of those that were not.
CREDIT = 0.005
#: Seconds of work from which on the loop's turns are told apart: until then nothing is scheduled.
UNNOTICED = 0.0005


class Budget:
    """One loop's."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        #: Seconds used in this turn.
        self._used = 0.0
        #: When the worker at work must stop.
        self._until = float("inf")
        self._queue: list[tuple[float, int, Worker]] = []
        self._order = itertools.count()
        #: What the worker that had its turn last had used.
        self._level = 0.0
        #: Where the last new connection began.
        self._entered = 0.0
        self._scheduled = False
        self._resting = False

    def enter(self) -> float:
        """What a new connection that has something to do counts as having used: behind those that
        are known, and behind the new ones before it."""
        self._entered = max(self._entered, self._level) + QUANTUM
        return self._entered

    def spent(self) -> bool:
        """Whether the worker that works now has to stop."""
        return self._clock() >= self._until

    def run(self, worker: Worker) -> None:
        """There is something to do for `worker`: now, if this turn has time for it."""
        if worker.waiting:
            return
        if self._used >= TURN or (self._queue and worker.used > self._level):
            self.put_off(worker)
        else:
            self._let_work(worker, TURN)

    def put_off(self, worker: Worker) -> None:
        """There is something to do for `worker`, in a later turn."""
        if worker.waiting:
            return
        worker.waiting = True
        worker.used = max(worker.used, self._level - CREDIT)
        heapq.heappush(self._queue, (worker.used, next(self._order), worker))
        self._schedule()

    def _let_work(self, worker: Worker, limit: float) -> None:
        start = self._clock()
        before, self._until = self._until, start + min(QUANTUM, limit - self._used)
        try:
            more = worker.work()
        finally:
            taken = self._clock() - start
            self._until = before
            self._used += taken
            used = worker.used = max(worker.used, self._level - CREDIT) + taken
            if used > self._level and not self._queue:
                # Nobody waits: time that one worker uses is time that the others let pass.
                self._level = used
        if more:
            self.put_off(worker)
        elif self._used > UNNOTICED:
            self._schedule()

    @property
    def idle(self) -> bool:
        """Whether nothing is put off."""
        return not self._queue

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        """A new turn of the loop begins: what was asked for in the last one precedes its I/O."""
        self._scheduled = False
        over, self._used = self._used - TURN, 0.0
        if over > 0 and not self._resting:
            self._resting = True
            asyncio.get_running_loop().call_later(min(over, REST), self._go_on)
        self._work_off()

    def _go_on(self) -> None:
        self._resting = False
        self._work_off()

    def _work_off(self) -> None:
        """Let those work that were put off; while they rest, only those that have used less than
        the last that worked: they are not why the others rest."""
        queue, limit = self._queue, self._level if self._resting else float("inf")
        try:
            while queue and self._used < BACKLOG and queue[0][0] < limit:
                used, _, worker = heapq.heappop(queue)
                self._level = max(self._level, used)
                worker.waiting = False
                self._let_work(worker, BACKLOG)
        finally:
            if queue and queue[0][0] < limit:
                self._schedule()
