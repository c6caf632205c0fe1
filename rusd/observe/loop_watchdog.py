"""Measures how long work holds the event loop, and names what held it beyond the budget.

    loop thread    a timer due every RESOLUTION seconds; the delay at which it runs is observed
    watchdog       sleeps until a timer is overdue, then reads the stack of the loop thread

Guarantees: a piece of work that holds the loop for longer than the budget plus RESOLUTION is
counted and, at a bounded rate, logged with its duration, its time of the processor and the function
that the loop called. No callback is wrapped: the cost is that of the timer and of the thread's
wake-ups, whatever the load.

The delay of a timer also grows when the thread waits for a processor or when the process is
suspended. The kernel counts the wait (`/proc/<pid>/task/<tid>/schedstat`), and it is subtracted. A
process in which the watchdog did not run either was suspended: that is reported and not observed. A
call into C that keeps the interpreter's lock delays the watchdog as well; the lock is handed over
when the call returns, within the same callback, so that the callback is still named.

Does not measure single callbacks: many short callbacks in one turn of the loop count together, as
they do for a heartbeat that is due.
"""

import asyncio
import contextlib
import itertools
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rusd.base.distribution import Distribution
from rusd.base.logs import LimitedLog, get_logger
from rusd.observe.samples import Histogram
from rusd.observe.thread_stacks import Place, ThreadStacks

log = get_logger(__name__)

#: Seconds between two timers: the precision of a measured delay.
RESOLUTION = 0.02
#: Seconds below which a hold cannot be told from the precision.
LEAST_BUDGET = 2 * RESOLUTION
#: Upper bounds of the histogram's buckets, seconds.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
#: Seconds after which a thread that waits for the interpreter's lock wakes up.
LOCK_WAIT = 0.005
#: Shown where no sample of the stack was taken in time.
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Hold:
    """One delay beyond the budget."""

    #: Function that the loop called, with file and line; the deepest call seen below it.
    callback: str
    at: str
    #: Seconds that the loop was held, and seconds of the processor used meanwhile.
    seconds: float
    cpu: float


class LoopWatchdog:
    """Watches the running loop between `start` and `stop`, both called on its thread."""

    def __init__(self, budget: float, on_hold: Callable[[Hold], None] | None = None) -> None:
        """`budget` in seconds, LEAST_BUDGET at least; `on_hold` is called on the loop's thread
        after each hold beyond it (by default: a warning in the log).
        """
        self.budget = max(budget, LEAST_BUDGET)
        #: All delays, in seconds.
        self.delays = Distribution(BUCKETS)
        #: Delays beyond the budget.
        self.holds = 0
        self._on_hold = on_hold or self._warn
        self._warnings = LimitedLog(log)
        self._timer: asyncio.TimerHandle | None = None
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        #: File and function that call callbacks: the calls above them are the callback's.
        self._caller: tuple[str, str] | None = None
        #: When the timer is due; when the thread read the stack meanwhile, and what it saw.
        self._due = 0.0
        self._seen: list[tuple[float, tuple[str, str]]] = []
        #: When the thread woke up last; the longest time between two wake-ups since the last timer.
        self._woke = 0.0
        self._gap = 0.0

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ident = threading.get_ident()
        self._own = _Scheduling(threading.get_native_id())
        self._used = time.thread_time()
        self._stacks = ThreadStacks()
        self._woke = time.monotonic()
        self._watching = _Scheduling(0)  # until the thread runs: counts nothing
        self._schedule()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; without effect if it was not started."""
        if self._thread is None or self._timer is None:
            return
        self._timer.cancel()
        self._stopped.set()
        self._thread.join()
        self._own.close()
        self._watching.close()
        self._stacks.close()
        self._thread = None

    def read(self) -> list[Histogram]:
        """Return the samples for the metrics (a `Source`)."""
        return [
            Histogram(
                "rusd_event_loop_delay_seconds",
                "How long due timers of the event loop waited for other work.",
                self.delays,
            )
        ]

    # On the loop

    def _schedule(self) -> None:
        self._due = time.monotonic() + RESOLUTION
        self._timer = self._loop.call_later(RESOLUTION, self._on_timer)

    def _on_timer(self) -> None:
        late = time.monotonic() - self._due
        used = time.thread_time()
        cpu, self._used = used - self._used, used
        late = max(0.0, late - self._own.waited())
        if self._caller is None:
            below = sys._getframe().f_back
            if below is not None:
                self._caller = below.f_code.co_filename, below.f_code.co_name
        if late > self.budget:
            self._held(late, min(cpu, late))
        else:
            self.delays.observe(late)
        if self._seen:
            self._seen = []
        self._gap = 0.0
        self._watching.start_anew()
        self._schedule()

    def _held(self, late: float, cpu: float) -> None:
        due = self._due
        seen = Counter(what for when, what in self._seen if when == due)
        if cpu < late / 2 and self._suspended() > late / 2:
            # Neither thread ran: there is nothing to blame.
            log.warning("the process did not run", extra={"fields": {"for": _shown(late)}})
            return
        self.delays.observe(late)
        self.holds += 1
        callback, at = seen.most_common(1)[0][0] if seen else (UNKNOWN, UNKNOWN)
        self._on_hold(Hold(callback, at, late, cpu))

    def _warn(self, hold: Hold) -> None:
        fields = {
            "callback": hold.callback,
            "at": hold.at,
            "took": _shown(hold.seconds),
            "cpu": _shown(hold.cpu),
            "expected-duration": _shown(self.budget),
        }
        self._warnings.warning("the event loop was held for too long", fields, hold.callback)

    def _suspended(self) -> float:
        """Returns for how long the watchdog did not run since the last timer: 0 if it waited for
        the interpreter's lock, which a call that uses no processor may hold.
        """
        gap = max(self._gap, time.monotonic() - self._woke)
        gap -= self._watching.waited()
        return gap if self._watching.runs() * LOCK_WAIT < gap / 2 else 0.0

    # In the thread

    def _watch(self) -> None:
        self._watching = _Scheduling(threading.get_native_id())
        pause = self.budget / 2
        while not self._stopped.wait(pause):
            now = time.monotonic()
            self._gap, self._woke = max(self._gap, now - self._woke), now
            pause = self._look()

    def _look(self) -> float:
        """Read the stack of the loop thread if the timer is overdue; returns the seconds until the
        next look.
        """
        due = self._due
        overdue = time.monotonic() - due
        if overdue < self.budget / 2:
            # A timer that runs in time moves `due` on meanwhile.
            return self.budget / 2 - overdue
        what = _described(self._stacks.read().get(self._ident, ()), self._caller)
        if what is not None:
            self._seen.append((due, what))
        return self.budget / 2


class _Scheduling:
    """Times that the kernel counts for one thread; zeros where it does not."""

    def __init__(self, native_id: int) -> None:
        self._file = -1
        with contextlib.suppress(OSError):
            self._file = os.open(f"/proc/self/task/{native_id}/schedstat", os.O_RDONLY)
        self._waited = self._runs = 0
        self.start_anew()

    def _read(self) -> tuple[int, int]:
        try:
            _, waited, runs = map(int, os.pread(self._file, 128, 0).split())
        except (OSError, ValueError):
            return self._waited, self._runs
        return waited, runs

    def waited(self) -> float:
        """Seconds for which the thread could run and got no processor, since the last call."""
        waited = self._read()[0]
        since, self._waited = waited - self._waited, waited
        return since / 1e9

    def runs(self) -> int:
        """Returns how often the thread was given a processor since the last call."""
        runs = self._read()[1]
        since, self._runs = runs - self._runs, runs
        return since

    def start_anew(self) -> None:
        """Count from now on."""
        self._waited, self._runs = self._read()

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _described(stack: Sequence[Place], caller: tuple[str, str] | None) -> tuple[str, str] | None:
    """Return (the running callback, the deepest call in it); None if the loop runs none."""
    for callback, below in itertools.pairwise(stack):
        if (callback.file, callback.function) == caller:
            return None
        if (below.file, below.function) == caller:
            return _shown_place(callback), _shown_place(stack[0])
    return None


def _shown_place(place: Place) -> str:
    """Format a call as `package/file.py:line (function)`."""
    directory, name = os.path.split(place.file)
    return f"{os.path.basename(directory)}/{name}:{place.line} ({place.function})"


def _shown(seconds: float) -> str:
    return f"{seconds * 1000:.1f}ms"
