"""Stacks are read while their threads run, which must not end the process."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from rusd.observe.thread_stacks import ThreadStacks


@pytest.fixture
def stacks() -> Iterator[ThreadStacks]:
    reader = ThreadStacks()
    yield reader
    reader.close()


def test_calls_of_every_thread_are_named_the_deepest_first(stacks: ThreadStacks) -> None:
    waiting, over = threading.Event(), threading.Event()

    def inner() -> None:
        waiting.set()
        over.wait(30)

    def outer() -> None:
        inner()

    thread = threading.Thread(target=outer)
    thread.start()
    try:
        assert waiting.wait(30)
        for _ in range(3):
            found = stacks.read()
            assert thread.ident is not None
            named = [one.function for one in found[thread.ident] if one.file == __file__]
            assert named == ["inner", "outer"]
            own = found[threading.get_ident()]
            assert any(
                one.function == "test_calls_of_every_thread_are_named_the_deepest_first"
                and one.file == __file__
                and one.line > 0
                for one in own
            )
    finally:
        over.set()
        thread.join()


def test_a_very_deep_stack_is_cut_off(stacks: ThreadStacks) -> None:
    def deep(left: int) -> int:
        if left:
            return deep(left - 1)
        return len(stacks.read()[threading.get_ident()])

    assert deep(500) == 100


# A busy member: the thread of the loop calls functions of many sizes, whose frames take the place
# of others, and collections of garbage call Python code, as `rusd/base/garbage.py` does. Each pause
# of that code lets the other thread return.
BUSY = """
import asyncio, gc, sys, threading, time
from rusd.observe.loop_watchdog import LoopWatchdog

source = "def call{0}(depth, {1}):\\n if depth: return call{2}(depth - 1)\\n return [depth]\\n"
functions = {}
for size in range(20):
    fields = ", ".join(f"field{number}={number}" for number in range(size + 1))
    exec(source.format(size, fields, (size + 7) % 20), functions)
calls = [functions[f"call{size}"] for size in range(20)]

def collected(phase, info):
    time.sleep(0.0005)

async def main():
    watchdog = LoopWatchdog(0.05, lambda hold: None)
    watchdog.start()
    await asyncio.sleep(0.1)
    watchdog._stopped.set()  # its own thread: the one below looks more often
    watchdog._thread.join()
    gc.callbacks.append(collected)
    gc.set_threshold(3, 1000, 1000)
    looks, ended = 0, False

    def look():
        nonlocal looks
        while not ended:
            watchdog._look()
            looks += 1
            time.sleep(0.0002)

    thread = threading.Thread(target=look)
    watchdog._due = 0.0  # and the loop is held from here on
    thread.start()
    end = time.monotonic() + 60
    while looks < 100 and thread.is_alive() and time.monotonic() < end:
        for number in range(200):
            calls[number % 20](number % 37)
    ended = True
    thread.join()
    watchdog.stop()
    print("looks:", looks >= 100, "seen:", len(watchdog._seen) > 0)

sys.setswitchinterval(0.0001)
asyncio.run(main())
"""


def test_looking_at_a_busy_loop_does_not_end_the_process() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", BUSY],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "looks: True seen: True\n"), done.stderr
