"""Responses of unary calls: encoded messages, now or later.

Services join responses from bytes that the store already holds, so nothing is encoded twice. A
response that depends on a proposal or a read index is resolved by a callback in the same turn of
the loop; only long work gets a task.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from rusd.base.chunks import Chunks, Encoded
from rusd.base.pending import Pending

T = TypeVar("T")


#: An encoded message, or an awaitable of one that may fail with a refusal.
Response = Encoded | Awaitable[Encoded]


def after(
    source: Pending[T] | asyncio.Future[T], finish: Callable[[T], Response]
) -> Pending[Encoded]:
    """Returns the response that `finish` makes of the result of `source`.

    Fails with the error of `source` or of `finish`. Cancelling the response does not cancel
    `source`: other calls may wait for it, and a proposal cannot be withdrawn. `finish` may return
    an awaitable for long work; then it runs in a task.
    """
    response: Pending[Encoded] = Pending()

    def resolve(source: Any) -> None:
        if response.done():
            if not source.cancelled():
                source.exception()  # retrieved: asyncio warns about unretrieved ones
            return
        if source.cancelled():
            response.cancel()
            return
        failure = source.exception()
        if failure is not None:
            response.set_exception(failure)
            return
        try:
            result = finish(source.result())
        except Exception as error:  # noqa: BLE001
            # Passed on to the call that waits for it.
            response.set_exception(error)
            return
        if isinstance(result, bytes | Chunks):
            response.set_result(result)
        else:
            _run_task(result, response)

    source.add_done_callback(resolve)
    return response


def _run_task(work: Awaitable[Encoded], response: Pending[Encoded]) -> None:
    task = asyncio.ensure_future(_awaited(work))

    def copy_outcome(task: asyncio.Task[Encoded]) -> None:
        if task.cancelled():
            response.cancel()
        elif (failure := task.exception()) is not None:
            response.set_exception(failure)
        else:
            response.set_result(task.result())

    task.add_done_callback(copy_outcome)
    response.add_done_callback(lambda _: task.cancel())


async def _awaited(work: Awaitable[Encoded]) -> bytes | Chunks:
    return await work
