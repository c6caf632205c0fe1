"""The time that connections may use in one turn of the loop, and their order.

All work that a connection causes (frames, header blocks, unpacking, pages, deadlines,
cancellations, writing) runs as the `work` of one `Worker`, through `TimeBudget.run`, or as a part
of it, through `run_early`. A turn ends when its time is used, not after a count of pieces: the rest
is deferred to later turns, so that Raft's messages and timers run in between. Deferred work gets at
most `BACKLOG` of a turn's time; the rest is for what arrives in it.

    run(worker) ── time left, and no deferred worker goes first ──▶ worker.work()
        │                                                              │ more
        └──────────────▶ deferred ◀────────────────────────────────────┘
                            │
          next turn: new ones in turn, known ones by time used

Fairness is by time used (start-time fair queueing): a worker that has used little goes before
those that have used much, and time it did not use while idle counts as `CREDIT` at most. A worker
is new until it ran once. While new and known ones wait, each kind gets half of the time: however
many connections have work, a new one waits for other new ones only, and however many new ones come,
known ones get their turns. What a new one leaves undone waits behind known ones that used less. The
more workers wait, the less each gets at a time, so that a round of all of them stays short.
Fairness is per connection, not per host.

A clock measures the work, since no count of frames or bytes tells what a call costs. On a machine
without a free core most of the time that passes is not the worker's: of a piece longer than `LONG`
it is charged for what the process had of the processor. One piece (a frame, a message to unpack, a
page) is never divided: its length bounds how far a turn overruns. After an overrun deferred work
rests for as long as the turn overran, `REST` at most; otherwise a client with large pieces only
would take every turn, while a call of another client needs several.

Not measured here: TLS handshakes and records, and aiohttp's parser of HTTP/1.1, which run before
the door sees a byte (`docs/limits.md`).
"""

import asyncio
import heapq
import itertools
import time
from collections import deque
from collections.abc import Callable

from rusd.door.ports import Worker

#: Seconds of one turn of the loop for all connections, and for deferred work in it.
TURN = 0.006
BACKLOG = 0.003
#: Seconds of one worker before others get their turn: `ROUND` for all that wait, within bounds. A
#: new worker gets the least while others wait.
QUANTUM, LEAST_QUANTUM, ROUND = 0.001, 0.00025, 0.1
#: The charge of a worker that is new.
NEW = -1.0
#: Seconds that deferred work rests at most after a turn that overran.
REST = 0.05
#: Seconds by which a worker that was idle may be ahead of the others.
CREDIT = 0.005
#: Seconds after which a piece of work is taken for one that was interrupted.
LONG = 0.002
#: Seconds of work after which the next turn is scheduled; less is not worth a callback.
UNNOTICED = 0.0005

#: Workers that wait without making quanta shorter.
_FEW = ROUND / QUANTUM
#: When the worker at work must stop if there is none.
_NEVER = float("inf")


class TimeBudget:
    """The time budget of one loop."""

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        """`clock`: stands for both the time that passes and the time of the processor."""
        self._clock = clock or time.perf_counter
        self._processor = clock or time.thread_time
        #: Seconds used in this turn; those that are charged, and those of the last worker.
        self._used = self._worked = 0.0
        self._taken = 0.0
        #: Time of the processor at the begin of this turn, or behind its last long piece.
        self._mark = 0.0
        #: When the worker at work must stop.
        self._until = _NEVER
        self._queue: list[tuple[float, int, Worker]] = []
        #: New workers that are deferred, and the time that they got above that of known ones since
        #: both wait.
        self._new: deque[Worker] = deque()
        self._ahead = 0.0
        #: Whether the worker that ran last was new.
        self._last_new = False
        self._order = itertools.count()
        #: What the worker that had its turn last had used.
        self._level = CREDIT
        self._scheduled = False
        #: Whether a turn overran, and whether a new worker caused it: such workers rest.
        self._resting = self._rests_new = False

    def enter(self) -> float:
        """Return the initial charge of a new connection."""
        return NEW

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
        if self._used >= TURN:
            return False
        if worker.used < 0:
            # (Within work: what a new connection began with goes on by its protocol.)
            return self.at_work or not self._new
        return not (self._queue and worker.used > self._level)

    def defer(self, worker: Worker) -> None:
        """Run `worker` in a later turn."""
        if worker.waiting:
            return
        worker.waiting = True
        if worker.used < 0:
            self._new.append(worker)
        else:
            worker.used = max(worker.used, self._level - CREDIT)
            heapq.heappush(self._queue, (worker.used, next(self._order), worker))
        self._schedule()

    def _run_worker(self, worker: Worker, work: Callable[[], bool], limit: float) -> None:
        start, used, worked = self._clock(), self._used, self._worked
        before, quantum = self._until, QUANTUM
        if self._queue or self._new:
            quantum = self._quantum(worker)
        until = start + (quantum if used + quantum <= limit else limit - used)
        self._until = until if until < before else before
        more = False
        try:
            more = work()
        finally:
            self._until = before
            taken = self._clock() - start
            self._used = used + taken  # (with that of a worker that ran within)
            if taken > LONG:
                taken = min(taken, self._since_mark())
            self._taken = taken
            self._worked = worked + taken
            level = self._level
            if worker.used < 0:
                self._last_new = True
                worker.used = level - (0 if more else CREDIT) + taken
            else:
                self._last_new = False
                charged = worker.used
                if charged < level - CREDIT:
                    charged = level - CREDIT
                charged = worker.used = charged + taken
                if charged > level and not self._queue:
                    # No worker waits: time that one uses is time that the others leave unused.
                    self._level = charged
        if more:
            self.defer(worker)
        elif self._used > UNNOTICED:
            self._schedule()

    def _since_mark(self) -> float:
        """Return the time of the processor used since the mark, and set that anew."""
        before, self._mark = self._mark, self._processor()
        return self._mark - before

    def _quantum(self, worker: Worker) -> float:
        if worker.used < 0:
            return LEAST_QUANTUM if self._new else QUANTUM
        waiting = len(self._queue)
        return QUANTUM if waiting <= _FEW else max(ROUND / waiting, LEAST_QUANTUM)

    @property
    def idle(self) -> bool:
        """Whether no worker is deferred."""
        return not (self._queue or self._new)

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        """Begin a new turn: callbacks scheduled in the last one run before its I/O."""
        self._scheduled = False
        over, self._used, self._worked = self._worked - TURN, 0.0, 0.0
        if self._queue or self._new:
            self._mark = self._processor()
        if over > 0 and not self._resting:
            self._resting, self._rests_new = True, self._last_new
            asyncio.get_running_loop().call_later(min(over, REST), self._end_rest)
        self._run_deferred()

    def _end_rest(self) -> None:
        self._resting = False
        self._run_deferred()

    def _run_deferred(self) -> None:
        """Run deferred workers; during a rest only known ones with a smaller charge than the last
        worker, which caused the overrun, and new ones if that was known.
        """
        try:
            while self._used < BACKLOG and (worker := self._next()) is not None:
                worker.waiting = False
                self._run_worker(worker, worker.work, BACKLOG)
                self._ahead += self._taken if self._last_new else -self._taken
        finally:
            if self._may_run_new() or self._may_run_known():
                self._schedule()

    def _may_run_new(self) -> bool:
        return bool(self._new) and not (self._resting and self._rests_new)

    def _may_run_known(self) -> bool:
        queue = self._queue
        return bool(queue) and not (self._resting and queue[0][0] >= self._level)

    def _next(self) -> Worker | None:
        """Remove the deferred worker that runs next; None if none may."""
        new, known = self._may_run_new(), self._may_run_known()
        if not (new and known):
            self._ahead = 0.0
        if new and (self._ahead <= 0 or not known):
            return self._new.popleft()
        if not known:
            return None
        used, _, worker = heapq.heappop(self._queue)
        self._level = max(self._level, used)
        return worker
