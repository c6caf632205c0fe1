"""An answer that comes later.

`Pending` is what asyncio.Future is to a loop's callbacks, without the loop: whoever waits is called
at the moment the answer is there, in the turn that found it, and a thousand answers cost no
thousand callbacks scheduled. It can be awaited as well, for work that is a coroutine anyway.
"""

import asyncio
from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar, cast

T = TypeVar("T")

_WAITING, _DONE, _FAILED, _CANCELLED = range(4)


class Pending(Generic[T]):
    """One answer, given once; the part of asyncio.Future's interface that is needed of it."""

    __slots__ = ("_callbacks", "_state", "_value")

    def __init__(self) -> None:
        self._state = _WAITING
        self._value: object = None
        self._callbacks: list[Callable[[Any], object]] | None = None

    # Giving it

    def set_result(self, result: T) -> None:
        """The answer. Ignored once there is one, or nobody wants it any more."""
        self._settle(_DONE, result)

    def set_exception(self, error: BaseException) -> None:
        """There will be none, for this reason."""
        self._settle(_FAILED, error)

    def give(self, outcome: object) -> None:
        """The answer, or the exception there is instead of one."""
        self._settle(_FAILED if isinstance(outcome, BaseException) else _DONE, outcome)

    def cancel(self) -> bool:
        """Nobody wants it any more."""
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
            # Whoever gave the answer is not to blame, and must go on.
            context = {"message": "a callback of an answer failed", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)

    # Waiting for it

    def done(self) -> bool:
        return self._state != _WAITING

    def cancelled(self) -> bool:
        return self._state == _CANCELLED

    def exception(self) -> BaseException | None:
        """Why there is no answer; None if there is one. Raises as `result` does."""
        if self._state == _FAILED:
            return cast(BaseException, self._value)
        self._check()
        return None

    def result(self) -> T:
        """The answer, or its exception raised; CancelledError, InvalidStateError."""
        if self._state == _FAILED:
            raise cast(BaseException, self._value)
        self._check()
        return cast(T, self._value)

    def _check(self) -> None:
        if self._state == _CANCELLED:
            raise asyncio.CancelledError
        if self._state == _WAITING:
            raise asyncio.InvalidStateError("there is no answer yet")

    def add_done_callback(self, callback: Callable[[Any], object]) -> None:
        """Call `callback` with this object when it is done: now, if it is."""
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
            # A coroutine that asks again after a refusal given at once must let the loop run.
            yield
        return self.result()
