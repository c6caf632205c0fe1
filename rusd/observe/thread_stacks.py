"""The stacks of all threads, as text of faulthandler.

Walking the frames of another thread that runs (`sys._current_frames`, `f_back`) may end the process
in CPython 3.11: each step makes an object, which may begin a collection of garbage, whose callback
in Python lets the other thread return from those frames; the next step reads freed memory.
faulthandler writes all stacks within one call, which keeps the interpreter's lock and makes no
object.
"""

import faulthandler
import os
import re
from typing import NamedTuple

#: Bytes that a pipe holds; more is cut off.
_PIPE_BYTES = 64 << 10
_THREAD = re.compile(r"(?:Current thread|Thread) 0x([0-9a-f]+)")
_FRAME = re.compile(r'  File "(.*)", line (\d+) in (.*)')


class Place(NamedTuple):
    """A call under way: file, line and function."""

    file: str
    line: int
    function: str


class ThreadStacks:
    """Reads the stacks until it is closed."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def read(self) -> dict[int, list[Place]]:
        """Return the stacks by `threading.get_ident`, the deepest call first; of very deep ones its
        last 100 calls.
        """
        faulthandler.dump_traceback(self._write, all_threads=True)
        stacks: dict[int, list[Place]] = {}
        places: list[Place] = []
        for line in os.read(self._read, _PIPE_BYTES).decode(errors="replace").splitlines():
            if thread := _THREAD.match(line):
                places = stacks[int(thread[1], 16)] = []
            elif frame := _FRAME.match(line):
                places.append(Place(frame[1], int(frame[2]), frame[3]))
        return stacks

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)
