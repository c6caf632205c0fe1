"""Functions that hold the event loop are measured and named; others are not."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

import pytest
import uvloop

from rusd.observe import loop_watchdog
from rusd.observe.loop_watchdog import BUCKETS, RESOLUTION, Hold, LoopWatchdog
from rusd.observe.metrics import CallMetrics, Metrics

BUDGET = 0.05
#: Seconds of work that no measurement can miss, and in which the watchdog's thread looks at the
#: stack even if it waits for a processor for a while.
LONG = 4 * BUDGET + RESOLUTION


@pytest.fixture(params=["uvloop", "asyncio"])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as running:
        yield running


def watched(
    runner: asyncio.Runner, work: Callable[[], Coroutine[None, None, None]]
) -> tuple[list[Hold], LoopWatchdog]:
    """The holds that the watchdog finds while `work` runs."""
    holds: list[Hold] = []
    watchdog = LoopWatchdog(BUDGET, holds.append)

    async def run() -> None:
        watchdog.start()
        # Not before the first timers: a hold is measured from when one was due.
        await _timers(watchdog, 2)
        await work()
        await _timers(watchdog, 2)
        watchdog.stop()

    runner.run(run())
    return holds, watchdog


def working(holds: list[Hold]) -> list[Hold]:
    """Those that used the processor: of a busy machine's disturbances, the kernel may not tell."""
    return [hold for hold in holds if hold.cpu > BUDGET]


async def _timers(watchdog: LoopWatchdog, count: int) -> None:
    """Wait until the watchdog has seen `count` more timers."""
    delays = watchdog.delays
    wanted = sum(delays.counts) + count
    while sum(delays.counts) < wanted:
        await asyncio.sleep(RESOLUTION)


def spin(seconds: float) -> None:
    """Uses the processor for so long."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def busy_callback() -> None:
    spin(LONG)


async def busy_coroutine() -> None:
    await asyncio.sleep(0)
    spin(LONG)


def long_call_into_c() -> None:
    numbers = range(1_000_000)
    begin = time.thread_time()
    sum(numbers)
    took = time.thread_time() - begin
    # One call that keeps the interpreter's lock from begin to end.
    sum(range(int(len(numbers) * 4 * LONG / took)))


def test_a_callback_that_holds_the_loop_is_named(runner: asyncio.Runner) -> None:
    async def work() -> None:
        asyncio.get_running_loop().call_soon(busy_callback)

    holds, watchdog = watched(runner, work)
    (hold,) = working(holds)
    assert hold.callback.endswith("(busy_callback)")
    assert hold.callback.startswith("observe/test_loop_watchdog.py:")
    assert hold.at.endswith("(spin)")
    assert BUDGET < hold.cpu <= hold.seconds
    assert watchdog.holds == len(holds)
    page = Metrics([watchdog], CallMetrics({})).render().decode()
    assert f"\nrusd_event_loop_delay_seconds_count {sum(watchdog.delays.counts)}\n" in page
    below = sum(watchdog.delays.counts[: BUCKETS.index(BUDGET) + 1])
    assert f'\nrusd_event_loop_delay_seconds_bucket{{le="0.05"}} {below}\n' in page


def test_a_step_of_a_coroutine_that_holds_the_loop_is_named(runner: asyncio.Runner) -> None:
    async def work() -> None:
        await asyncio.create_task(busy_coroutine())

    (hold,) = working(watched(runner, work)[0])
    assert hold.callback.endswith("(busy_coroutine)")


def test_a_call_that_keeps_the_interpreters_lock_is_blamed_on_its_callback(
    runner: asyncio.Runner,
) -> None:
    async def work() -> None:
        asyncio.get_running_loop().call_soon(long_call_into_c)

    # The watchdog looks when the lock is given back. Where it has no core then, it comes too late.
    for _ in range(20):
        holds = working(watched(runner, work)[0])
        found = {hold.callback.rpartition(" ")[2] for hold in holds}
        if found != {"unknown"}:
            break
    assert found == {"(long_call_into_c)"}


def test_a_callback_that_waits_is_named_as_well(runner: asyncio.Runner) -> None:
    def waiting_callback() -> None:
        time.sleep(LONG)

    async def work() -> None:
        asyncio.get_running_loop().call_soon(waiting_callback)

    holds, _ = watched(runner, work)
    assert any("waiting_callback" in hold.callback and hold.cpu < BUDGET for hold in holds)


def test_a_loop_that_rests_or_works_in_slices_yields_no_hold(runner: asyncio.Runner) -> None:
    async def work() -> None:
        end = time.monotonic() + 4 * BUDGET
        while time.monotonic() < end:
            spin(RESOLUTION / 10)
            await asyncio.sleep(0)
        await asyncio.sleep(4 * BUDGET)

    holds, watchdog = watched(runner, work)
    assert working(holds) == []
    assert sum(watchdog.delays.counts) > 5


def test_what_a_thread_waited_before_the_watchdog_started_is_not_subtracted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stat = b"1 5000000000 10\n"
    monkeypatch.setattr(os, "pread", lambda *_: stat)
    scheduling = loop_watchdog._Scheduling(threading.get_native_id())
    try:
        assert (scheduling.waited(), scheduling.runs()) == (0, 0)
        stat = b"1 7000000000 13\n"
        assert (scheduling.waited(), scheduling.runs()) == (2, 3)
    finally:
        scheduling.close()


SUSPENDED = """
import asyncio, logging, sys, uvloop
from rusd.observe.loop_watchdog import LoopWatchdog
logging.basicConfig(format="%(message)s", stream=sys.stdout)

async def main():
    watchdog = LoopWatchdog(0.05, lambda hold: print("held", hold, flush=True))
    watchdog.start()
    print("running", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    watchdog.stop()

with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(main())
"""


def suspended(pid: int) -> bool:
    """Return whether all threads are; on a busy machine this takes a while after the signal."""
    stats = [stat.read_text() for stat in Path(f"/proc/{pid}/task").glob("*/stat")]
    return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)


def test_a_suspended_process_is_not_blamed_on_a_callback() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SUSPENDED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == "running\n"
        process.send_signal(signal.SIGSTOP)
        while not suspended(process.pid):
            time.sleep(RESOLUTION)
        time.sleep(1)  # the length of the suspension
        process.send_signal(signal.SIGCONT)
        assert process.stdout.readline() == "the process did not run\n"
        output, _ = process.communicate("end\n", timeout=30)
    assert "held" not in output
