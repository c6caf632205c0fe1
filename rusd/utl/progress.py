"""A bar on standard error for work that takes long, if that is a terminal."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

#: Seconds before the first bar, and between two.
_PATIENCE: Final = 2.0
_PERIOD: Final = 0.2
_WIDTH: Final = 40
_MARK: Final = "<=>"


@contextmanager
def bar(part: Callable[[], float] | None) -> Iterator[None]:
    """Show how much of the block's work is done. `part`: of it, from 0 to 1; called by a thread.
    None: it is not known; the seconds that have passed are shown.
    """
    if not sys.stderr.isatty():
        yield
        return
    done = threading.Event()
    thread = threading.Thread(target=_draw, args=(part, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _draw(part: Callable[[], float] | None, done: threading.Event) -> None:
    begun = time.monotonic()
    if done.wait(_PATIENCE):
        return
    while True:
        passed = time.monotonic() - begun
        text = _moving(passed) if part is None else _filled(part())
        print(f"\r{text}", end="", file=sys.stderr, flush=True)
        if done.wait(_PERIOD):
            print("\r" + " " * len(text) + "\r", end="", file=sys.stderr, flush=True)
            return


def _filled(part: float) -> str:
    share = min(max(part, 0.0), 1.0)
    return f"[{'#' * int(share * _WIDTH):<{_WIDTH}}] {share:4.0%}"


def _moving(passed: float) -> str:
    """Return a mark that goes to and fro, and the seconds that have passed."""
    way = _WIDTH - len(_MARK)
    place = int(passed / _PERIOD) % (2 * way)
    place = min(place, 2 * way - place)
    return f"[{' ' * place}{_MARK}{' ' * (way - place)}] {passed:.0f} s"
