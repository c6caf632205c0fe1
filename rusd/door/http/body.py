"""Bodies: those of requests, bounded in size, in time and in memory; the end of streamed ones."""

import asyncio
from collections.abc import AsyncIterator

from rusd.door.lateness import Timeout
from rusd.rpc.pages import BodyMemoryExceeded, BodyTimeout, BodyTooLarge

#: Bytes of one body that is read as a whole.
BODY_LIMIT = 2 << 20
#: Seconds for such a body to arrive.
BODY_SECONDS = 30.0
#: Bytes of all bodies that are held at a time.
BODY_MEMORY = 64 << 20


class BodyMemory:
    """Counts the bytes of bodies that one member holds for its pages."""

    def __init__(self, limit: int = BODY_MEMORY, each: int = BODY_LIMIT) -> None:
        """`limit`: bytes of all bodies; `each`: bytes of one body that is read as a whole."""
        self.each = each
        self._limit = limit
        #: Bytes that are held.
        self.held = 0

    def take(self, size: int) -> None:
        """Count `size` bytes more. Raises BodyMemoryExceeded if they do not fit."""
        if self.held + size > self._limit:
            raise BodyMemoryExceeded
        self.held += size

    def release(self, size: int) -> None:
        """Uncount `size` bytes."""
        self.held -= size


class Body:
    """A `RequestBody`; subclasses supply its chunks."""

    def __init__(self, announced: int | None, memory: BodyMemory) -> None:
        """`announced`: content-length."""
        self._announced = announced or 0
        self._memory = memory
        self._taken = 0

    def chunks(self) -> AsyncIterator[bytes]:
        raise NotImplementedError

    async def read(self) -> bytes:
        if self._announced > self._memory.each:
            raise BodyTooLarge
        parts: list[bytes] = []
        limit = asyncio.timeout(None)
        timeout = Timeout(BODY_SECONDS, lambda: limit.reschedule(0.0))
        try:
            async with limit:
                async for chunk in self.chunks():
                    if self._taken + len(chunk) > self._memory.each:
                        raise BodyTooLarge
                    self._memory.take(len(chunk))
                    self._taken += len(chunk)
                    parts.append(chunk)
        except TimeoutError:
            raise BodyTimeout from None
        finally:
            timeout.cancel()
        return b"".join(parts)

    def release(self) -> None:
        """Release the body's memory after the response."""
        self._memory.release(self._taken)
        self._taken = 0


async def close(chunks: AsyncIterator[bytes]) -> None:
    """End a streamed body: the `finally` blocks of its generator run now."""
    aclose = getattr(chunks, "aclose", None)
    if aclose is not None:
        await aclose()
