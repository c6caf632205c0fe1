"""A program of this room in a process of its own: its side of `own_process`.

It imports little, since the start of the process is time that a client waits.
"""

import os
import sys
import threading
from typing import Final

#: Priority below the member's: calls that are served meanwhile come first.
NICE: Final = 10


class Parent:
    """The member, as such a process sees it."""

    def __init__(self) -> None:
        self._word = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def wait_for_word(self) -> None:
        """Return once the parent has given word."""
        self._word.wait()

    def _read(self) -> None:
        if sys.stdin.readline():
            self._word.set()
            sys.stdin.read()
        # It is gone.
        os._exit(1)


def become() -> Parent:
    """Called first in the process: it ends with its parent, which holds the other end of its
    standard input, and gives way to it.
    """
    os.nice(NICE)
    return Parent()
