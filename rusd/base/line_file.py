"""Lines appended to a file by a thread of their own, so that a slow disk holds up no caller.

`write` queues a line, or drops it while `MAX_QUEUED` lines wait; the next line that is written is
then preceded by a line that counts those dropped. Before each write the thread checks that the
path still names the open file, and else opens it anew: a log that is rotated by renaming needs no
signal. An error of the file drops lines; it is logged and ends nothing.
"""

import contextlib
import os
import queue
import sys
import threading
from collections.abc import Callable
from typing import TextIO

from rusd.base.logs import LimitedLog, get_logger

log = get_logger(__name__)

MAX_QUEUED = 10_000
#: Only the owner of the process may read the file.
MODE = 0o600
#: Seconds that `close` waits for lines that are queued.
CLOSE_SECONDS = 2.0
#: The path that stands for standard error.
STDERR = "stderr"


class LineFile:
    """One file, or standard error."""

    def __init__(self, path: str, dropped: Callable[[int], str]) -> None:
        """`dropped` makes the line that counts dropped ones. Raises OSError if the file cannot be
        opened.
        """
        self._path = path
        self._dropped_line = dropped
        self._queue: queue.Queue[str | None] = queue.Queue(MAX_QUEUED)
        self._dropped = 0
        self._failures = LimitedLog(log)
        self._file: TextIO | None = sys.stderr if path == STDERR else self._open()
        self._thread = threading.Thread(target=self._run, name="line file", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """Queue a line, given without its line break. Never blocks, never raises."""
        try:
            self._queue.put_nowait(line)
        except queue.Full:
            self._dropped += 1

    def close(self) -> None:
        """Write what is queued, for `CLOSE_SECONDS` at most."""
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=CLOSE_SECONDS)
            self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while True:
            lines = [self._queue.get()]
            with contextlib.suppress(queue.Empty):
                while lines[-1] is not None:
                    lines.append(self._queue.get_nowait())
            last = lines[-1] is None
            texts = [line for line in lines if line is not None]
            if self._dropped:
                count, self._dropped = self._dropped, 0
                texts.insert(0, self._dropped_line(count))
            if texts:
                self._append("".join(f"{text}\n" for text in texts))
            if last:
                break
        if self._path != STDERR and self._file is not None:
            self._file.close()

    def _append(self, text: str) -> None:
        try:
            file = self._current()
            file.write(text)
            file.flush()
        except (OSError, ValueError) as error:
            self._failures.warning(
                "failed to write lines", {"path": self._path, "error": str(error)}
            )

    def _current(self) -> TextIO:
        """The file that the path names now."""
        if self._path == STDERR:
            return sys.stderr
        if self._file is not None:
            try:
                if os.path.samestat(os.stat(self._path), os.fstat(self._file.fileno())):
                    return self._file
            except FileNotFoundError:
                pass
            file, self._file = self._file, None
            file.close()
        self._file = self._open()
        return self._file

    def _open(self) -> TextIO:
        descriptor = os.open(
            self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, MODE
        )
        return os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace")
