"""`Pending`: a result to come, like asyncio.Future but without scheduling.

Callbacks run synchronously when the result is set, in the same turn of the loop: a thousand results
cost no thousand scheduled callbacks. A coroutine can await it as well.
"""

import asyncio
from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar, cast

T = TypeVar("T")

_WAITING, _DONE, _FAILED, _CANCELLED = range(4)


class Pending(Generic[T]):
    """A result that is set once; the part of asyncio.Future's interface that rusd uses."""

    __slots__ = ("_callbacks", "_state", "_value")

    def __init__(self) -> None:
        self._state = _WAITING
        self._value: object = None
        self._callbacks: list[Callable[[Any], object]] | None = None

    # Setting the result

    def set_result(self, result: T) -> None:
        """Set the result. Ignored after the first call and after `cancel`."""
        self._settle(_DONE, result)

    def set_exception(self, error: BaseException) -> None:
        """Set the exception that `result` raises; ignored as in `set_result`."""
        self._settle(_FAILED, error)

    def give(self, outcome: object) -> None:
        """Set the result, or the exception if `outcome` is one."""
        self._settle(_FAILED if isinstance(outcome, BaseException) else _DONE, outcome)

    def cancel(self) -> bool:
        """Discard the result to come. False if it is set already."""
        if self._state != _WAITING:
            return False
        self._settle(_CANCELLED, None)
        return True

    def _settle(self, state: int, value: object) -> None:
        if self._state != _WAITING:
            return
        self._state, self._value = state, value
        callbacks, self._callbacks = self._callbacks, None
        for callback in callbacks or ():
            self._call(callback)

    def _call(self, callback: Callable[[Any], object]) -> None:
        try:
            callback(self)
        except Exception as error:  # noqa: BLE001
            # The code that set the result is not at fault and must go on.
            context = {"message": "a callback of a result failed", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)

    # Waiting for the result

    def done(self) -> bool:
        return self._state != _WAITING

    def cancelled(self) -> bool:
        return self._state == _CANCELLED

    def exception(self) -> BaseException | None:
        """Return the exception, or None if there is a result. Raises like `result` otherwise."""
        if self._state == _FAILED:
            return cast(BaseException, self._value)
        self._check()
        return None

    def result(self) -> T:
        """Return the result, or raise its exception, CancelledError or InvalidStateError."""
        if self._state == _FAILED:
            raise cast(BaseException, self._value)
        self._check()
        return cast(T, self._value)

    def _check(self) -> None:
        if self._state == _CANCELLED:
            raise asyncio.CancelledError
        if self._state == _WAITING:
            raise asyncio.InvalidStateError("the result is not set")

    def add_done_callback(self, callback: Callable[[Any], object]) -> None:
        """Call `callback` with this object when it is done; at once if it is."""
        if self._state != _WAITING:
            self._call(callback)
        elif self._callbacks is None:
            self._callbacks = [callback]
        else:
            self._callbacks.append(callback)

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
        return self.result()
