"""Stacks of every thread and task: the page of `--enable-pprof`."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import closing

from rusd.observe.thread_stacks import ThreadStacks

#: Tasks that are shown; each takes some hundred microseconds of the event loop.
TASKS_SHOWN = 100


def stacks() -> bytes:
    """The stacks of all threads, then those of the first tasks of the running loop."""
    return "\n".join(_parts()).encode()


def _parts() -> Iterator[str]:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    with closing(ThreadStacks()) as reader:
        for ident, stack in reader.read().items():
            calls = "".join(f"  {one.file}:{one.line} {one.function}\n" for one in reversed(stack))
            yield f"thread {names.get(ident, ident)}\n{calls}"
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
