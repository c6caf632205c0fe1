"""Bounds the calls of the gateway that are under way.

etcd's gateway is a client with one connection to its own server, so `--max-concurrent-streams`
bounds the calls of all its clients together: further ones wait, in their order.
"""

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable

from rusd.base.pending import Pending
from rusd.door.http.body import close
from rusd.rpc.pages import PageResponse


class CallSlots:
    """A semaphore with a fixed number of calls."""

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._waiting: OrderedDict[Pending[None], None] = OrderedDict()

    def take_at_once(self) -> bool:
        """Take a slot if one is free."""
        if not self._free:
            return False
        self._free -= 1
        return True

    async def take(self) -> None:
        """Wait for a slot."""
        if self.take_at_once():
            return
        turn: Pending[None] = Pending()
        self._waiting[turn] = None
        try:
            await turn
        except BaseException:
            if turn in self._waiting:
                del self._waiting[turn]
            else:
                self.release()  # it was handed over meanwhile
            raise

    def release(self) -> None:
        """Release the slot of a call that has ended."""
        if self._waiting:
            self._waiting.popitem(last=False)[0].set_result(None)
        else:
            self._free += 1

    def until_sent(self, response: PageResponse) -> PageResponse:
        """Return `response`; its slot is released when its body has been sent."""
        if isinstance(response.body, bytes):
            self.release()
            return response
        return PageResponse(response.status, response.headers, _Held(response.body, self.release))


class _Held(AsyncIterator[bytes]):
    """A streamed body that holds a slot."""

    def __init__(self, chunks: AsyncIterator[bytes], release: Callable[[], None]) -> None:
        self._chunks = chunks
        self._release: Callable[[], None] | None = release

    async def __anext__(self) -> bytes:
        return await anext(self._chunks)

    async def aclose(self) -> None:
        """The body has ended, or the client disconnected."""
        release, self._release = self._release, None
        if release is not None:
            release()
        await close(self._chunks)
