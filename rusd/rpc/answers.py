"""Answers that come later, without a task for each: resolved by a callback, in the same turn."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from rusd.base.pending import Pending
from rusd.rpc.seam import Answer, Parts

T = TypeVar("T")


def after(
    source: Pending[T] | asyncio.Future[T], finish: Callable[[T], Answer]
) -> Pending[bytes | Parts]:
    """The answer `finish` makes of what `source` gives; errors of both become the answer's.

    A client that goes away cancels the answer, never the source: others may wait for it too, and a
    proposal cannot be taken back. Only an answer that is itself awaitable (long work) gets a task.
    """
    answer: Pending[bytes | Parts] = Pending()

    def resolve(source: Any) -> None:
        if answer.done():
            if not source.cancelled():
                source.exception()  # looked at: nobody waits for it
            return
        if source.cancelled():
            answer.cancel()
            return
        failure = source.exception()
        if failure is not None:
            answer.set_exception(failure)
            return
        try:
            result = finish(source.result())
        except Exception as error:
            answer.set_exception(error)
            return
        if isinstance(result, bytes | Parts):
            answer.set_result(result)
        else:
            _follow(result, answer)

    source.add_done_callback(resolve)
    return answer


def _follow(work: Awaitable[bytes | Parts], answer: Pending[bytes | Parts]) -> None:
    task = asyncio.ensure_future(_awaited(work))

    def hand_over(task: asyncio.Task[bytes | Parts]) -> None:
        if task.cancelled():
            answer.cancel()
        elif (failure := task.exception()) is not None:
            answer.set_exception(failure)
        else:
            answer.set_result(task.result())

    task.add_done_callback(hand_over)
    answer.add_done_callback(lambda _: task.cancel())


async def _awaited(work: Awaitable[bytes | Parts]) -> bytes | Parts:
    return await work
