"""Answers that come later, without a task for each: one future, resolved by a callback."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from rusd.api.seam import Answer

T = TypeVar("T")


def after(source: asyncio.Future[T], finish: Callable[[T], Answer]) -> asyncio.Future[bytes]:
    """The answer `finish` makes of what `source` gives; errors of both become the answer's.

    A client that goes away cancels the answer, never the source: others may wait for it too, and a
    proposal cannot be taken back. Only an answer that is itself awaitable (long work) gets a task.
    """
    answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    source.add_done_callback(partial(_resolve, answer, finish))
    return answer


def _resolve(
    answer: asyncio.Future[bytes], finish: Callable[[Any], Answer], source: asyncio.Future[Any]
) -> None:
    if source.cancelled():
        answer.cancel()
        return
    failure = source.exception()
    if answer.done():
        return
    if failure is not None:
        answer.set_exception(failure)
        return
    try:
        result = finish(source.result())
    except Exception as error:
        answer.set_exception(error)
        return
    if isinstance(result, bytes):
        answer.set_result(result)
        return
    work = asyncio.ensure_future(_awaited(result))
    work.add_done_callback(partial(_hand_over, answer))
    answer.add_done_callback(lambda _: work.cancel())


async def _awaited(work: Awaitable[bytes]) -> bytes:
    return await work


def _hand_over(answer: asyncio.Future[bytes], work: asyncio.Task[bytes]) -> None:
    if work.cancelled():
        answer.cancel()
        return
    failure = work.exception()
    if answer.done():
        return
    if failure is not None:
        answer.set_exception(failure)
    else:
        answer.set_result(work.result())
