"""Answers that the gateway holds for its clients, bounded for all of them together.

A long answer is not made while others fill half of the budget; a stream whose client has something
to read is given no more meanwhile. What is held at most is therefore half of the budget, what each
stream was sent last, and the long answers that were begun before one was held: as many as the
service reads at a time (`LONG_READS` of `api/kv.py`).
"""

import asyncio
from collections import OrderedDict

from rusd.base.pending import Pending

#: Bytes of answers that are held before clients wait.
ANSWER_MEMORY = 64 << 20
#: Seconds between two answers that go on.
RETRY_SECONDS = 0.01


class AnswerMemory:
    """Counts the bytes of responses that their clients have not read."""

    def __init__(self, budget: int = ANSWER_MEMORY) -> None:
        self._half = budget // 2
        self._held = 0
        self._waiting: OrderedDict[Pending[None], None] = OrderedDict()

    @property
    def tight(self) -> bool:
        """Whether new responses must wait."""
        return self._held > self._half

    def take(self, size: int) -> None:
        """Count a response of `size` bytes that waits for its client."""
        self._held += size

    def release(self, size: int) -> None:
        """Uncount `size` bytes that were sent or dropped."""
        self._held -= size
        self._resume()

    def _resume(self) -> None:
        """Resume the next waiting call. One at a time: its response may be long, or empty."""
        if self._waiting and not self.tight:
            self._waiting.popitem(last=False)[0].set_result(None)
            if self._waiting:
                asyncio.get_running_loop().call_later(RETRY_SECONDS, self._resume)

    def wait(self, *, small: bool = False) -> Pending[None] | None:
        """See `rusd/rpc/call.py` `WaitWritable`."""
        if small or not self.tight:
            return None
        waiting: Pending[None] = Pending()
        self._waiting[waiting] = None
        waiting.add_done_callback(lambda done: self._waiting.pop(done, None))
        return waiting
