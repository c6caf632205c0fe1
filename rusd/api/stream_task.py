"""A server stream that one task works on."""

import asyncio
from abc import abstractmethod
from typing import Any

from rusd.base.errors import Refusal
from rusd.base.logs import get_logger
from rusd.rpc.errors import STOPPED
from rusd.rpc.streams import ResponseStream

log = get_logger(__name__)


class StreamTask:
    """One open stream (a `StreamHandler`): `run` sends its responses.

    The stream ends with the task: with OK, with the refusal that `run` raises, or with STOPPED
    after a fault, which is logged. When the client goes, the task is cancelled.
    """

    def __init__(self, responses: ResponseStream) -> None:
        """The task begins in a later turn of the loop, when the subclass has set its fields."""
        self._responses = responses
        self._room = asyncio.Event()
        #: None once the stream is closed.
        self._task: asyncio.Task[None] | None = asyncio.get_running_loop().create_task(self._run())

    @abstractmethod
    async def run(self) -> None:
        """Send everything."""

    def ending(self, refusal: Refusal) -> Exception | None:
        """Return the status of a stream that a refusal has ended; None: OK."""
        return refusal

    def received(self, request: Any) -> None:
        raise AssertionError("a server stream has one request")

    def half_closed(self) -> None:
        """Does nothing: the client half-closes with its only request."""

    def drained(self) -> None:
        self._room.set()

    def closed(self) -> None:
        # (It will hold its exception, whose frames hold this object: a cycle.)
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    async def _run(self) -> None:
        try:
            await self.run()
        except Refusal as error:
            self._responses.finish(self.ending(error))
        except Exception:
            # Such as a snapshot that replaced the database meanwhile: the client may try again.
            log.exception("a stream failed", extra={"fields": {"stream": type(self).__name__}})
            self._responses.finish(STOPPED())
        else:
            self._responses.finish()

    async def _wait_for_room(self) -> None:
        """Wait until the buffer of responses falls below its low-water mark."""
        self._room.clear()
        await self._room.wait()
