"""Stacks of every thread and task: the page of `--enable-pprof`."""

import asyncio
import sys
import threading
import traceback
from collections.abc import Iterator

#: Tasks that are shown; each takes some hundred microseconds of the event loop.
TASKS_SHOWN = 100


def stacks() -> bytes:
    """The stacks of all threads, then those of the first tasks of the running loop."""
    return "\n".join(_parts()).encode()


def _parts() -> Iterator[str]:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():
        yield f"thread {names.get(ident, ident)}\n{''.join(traceback.format_stack(frame))}"
    tasks = asyncio.all_tasks()
    for task, _ in zip(tasks, range(TASKS_SHOWN), strict=False):
        frames = task.get_stack(limit=20)
        lines = (
            f"  {frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_qualname}\n"
            for frame in frames
        )
        yield f"task {task.get_name()}\n{''.join(lines)}"
    if len(tasks) > TASKS_SHOWN:
        yield f"and {len(tasks) - TASKS_SHOWN} other tasks\n"
