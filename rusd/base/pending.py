"""`Pending`: a result to come, like asyncio.Future but without scheduling.

Callbacks run synchronously when the result is set, in the same turn of the loop: a thousand results
cost no thousand scheduled callbacks. A coroutine can await it as well.
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from typing import Any, Generic, TypeVar, cast

from rusd.base.errors import Refusal

T = TypeVar("T")
U = TypeVar("U")

_WAITING, _DONE, _FAILED, _CANCELLED = range(4)


class Pending(Generic[T]):
    """A result that is set once; the part of asyncio.Future's interface that rusd uses."""

    __slots__ = ("_callback", "_finish", "_further", "_state", "_value")

    def __init__(self) -> None:
        self._state = _WAITING
        self._value: object = None
        #: What makes the result of the value that is set (`then`).
        self._finish: Callable[[Any], object] | None = None
        #: Nearly all have one callback.
        self._callback: Callable[[Any], object] | None = None
        self._further: list[Callable[[Any], object]] | None = None

    # Setting the result

    def set_result(self, result: T) -> None:
        """Set the result. Ignored after the first call and after `cancel`."""
        if self._finish is None:
            self._settle(_DONE, result)
        else:
            self._set_finished(result)

    def set_exception(self, error: BaseException) -> None:
        """Set the exception that `result` raises; ignored as in `set_result`."""
        self._settle(_FAILED, error)

    def give(self, outcome: object) -> None:
        """Set the result, or the exception if `outcome` is one."""
        if isinstance(outcome, BaseException):
            self._settle(_FAILED, outcome)
        elif self._finish is None:
            self._settle(_DONE, outcome)
        else:
            self._set_finished(outcome)

    def cancel(self) -> bool:
        """Discard the result to come. False if it is set already."""
        if self._state != _WAITING:
            return False
        self._settle(_CANCELLED, None)
        return True

    def _settle(self, state: int, value: object) -> None:
        if self._state != _WAITING:
            return
        if state == _FAILED and isinstance(value, Refusal):
            # An answer, not logged. Its frames, and those that called them, hold this object.
            value.__traceback__ = None
        self._state, self._value = state, value
        self._finish = None
        callback, self._callback = self._callback, None
        if callback is not None:
            # (As `_call`, for the one that nearly all have.)
            try:
                callback(self)
            except Exception as error:  # noqa: BLE001
                _report(error)
            if self._further is not None:
                further, self._further = self._further, None
                for callback in further:
                    self._call(callback)

    def _call(self, callback: Callable[[Any], object]) -> None:
        try:
            callback(self)
        except Exception as error:  # noqa: BLE001
            _report(error)

    # Making the result of another value

    def then(self, finish: Callable[[T], U | Awaitable[U]]) -> "Pending[U]":
        """Transform the result: returns this object, as a `Pending` of what `finish` returns or
        raises. An awaitable from `finish` (long work) runs in a task; cancelling this object
        cancels the task.

        To be called only by the creator or receiver of this object, before anything else waits for
        it: it saves a second object.
        """
        if self._state == _WAITING:
            self._finish = finish
        elif self._state == _DONE:
            self._state, self._finish = _WAITING, finish
            self._set_finished(self._value)
        return self  # type: ignore[return-value]

    def _set_finished(self, value: object) -> None:
        finish = self._finish
        assert finish is not None
        try:
            result = finish(value)
        except Exception as error:  # noqa: BLE001
            # Passed on to the call that waits for it.
            self._settle(_FAILED, error)
        else:
            if type(result) is bytes or not isinstance(result, Awaitable):
                self._settle(_DONE, result)
            else:
                self._run(result)

    def _run(self, work: Awaitable[Any]) -> None:
        task = asyncio.ensure_future(_awaited(work))

        def copy_outcome(task: asyncio.Task[Any]) -> None:
            if task.cancelled():
                self.cancel()
            elif (failure := task.exception()) is not None:
                self._settle(_FAILED, failure)
            else:
                self._settle(_DONE, task.result())

        task.add_done_callback(copy_outcome)
        self.add_done_callback(lambda _: task.cancel())

    # Waiting for the result

    def done(self) -> bool:
        """Return whether there is a result or an exception, or the call was cancelled."""
        return self._state != _WAITING

    def cancelled(self) -> bool:
        """Return whether `cancel` took effect."""
        return self._state == _CANCELLED

    def exception(self) -> BaseException | None:
        """Return the exception, or None if there is a result. Raises like `result` otherwise."""
        if self._state == _FAILED:
            return cast(BaseException, self._value)
        self.result()
        return None

    def result(self) -> T:
        """Return the result, or raise its exception, CancelledError or InvalidStateError."""
        state = self._state
        if state == _DONE:
            return self._value  # type: ignore[return-value]
        if state == _FAILED:
            try:
                raise cast(BaseException, self._value)
            finally:
                del self  # the exception holds this frame: a cycle
        if state == _CANCELLED:
            raise asyncio.CancelledError
        raise asyncio.InvalidStateError("the result is not set")

    def add_done_callback(self, callback: Callable[[Any], object]) -> None:
        """Call `callback` with this object when it is done; at once if it is."""
        if self._state != _WAITING:
            self._call(callback)
        elif self._callback is None:
            self._callback = callback
        elif self._further is None:
            self._further = [callback]
        else:
            self._further.append(callback)

    def __await__(self) -> Generator[Any, None, T]:
        if self._state == _WAITING:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()

            def wake(_: object) -> None:
                if not waiter.done():
                    waiter.set_result(None)

            self.add_done_callback(wake)
            yield from waiter
        else:
            # A coroutine that retries after an immediate refusal must still yield to the loop.
            yield
        try:
            return self.result()
        finally:
            del self  # as in `result`


def _report(error: Exception) -> None:
    # The code that set the result is not at fault and must go on.
    context = {"message": "a callback of a result failed", "exception": error}
    asyncio.get_running_loop().call_exception_handler(context)


async def _awaited(work: Awaitable[T]) -> T:
    return await work
