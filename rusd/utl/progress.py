"""A bar on standard error for work that takes long, if that is a terminal."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

#: Seconds before the first bar, and between two.
_PATIENCE: Final = 2.0
_PERIOD: Final = 0.2
_WIDTH: Final = 40


@contextmanager
def bar(part: Callable[[], float]) -> Iterator[None]:
    """Show how much of the block's work is done. `part`: of it, from 0 to 1; called by a thread."""
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


def _draw(part: Callable[[], float], done: threading.Event) -> None:
    if done.wait(_PATIENCE):
        return
    while True:
        share = min(max(part(), 0.0), 1.0)
        filled = "#" * int(share * _WIDTH)
        print(f"\r[{filled:<{_WIDTH}}] {share:4.0%}", end="", file=sys.stderr, flush=True)
        if done.wait(_PERIOD):
            print("\r" + " " * (_WIDTH + 8) + "\r", end="", file=sys.stderr, flush=True)
            return
