"""bcrypt in threads: some 50 ms of CPU each at the default cost, never on the loop.

At most `THREADS` run at a time. The others wait in one queue for each client address, which take
turns: a flood of logins from one address delays a login from another by no more than one password.
A queue holds `MAX_QUEUE` calls and all queues `MAX_WAITING`; beyond that a call of the longest
queue is refused with TOO_MANY_REQUESTS.
"""

import asyncio
import os
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from rusd.auth import passwords
from rusd.rpc.errors import TOO_MANY_REQUESTS

T = TypeVar("T")

THREADS = 2
#: Calls of one address that wait, and of all addresses.
MAX_QUEUE, MAX_WAITING = 200, 1000
#: Added to the nice value of the threads, so that logins leave the CPUs to requests.
NICENESS = 10


class PasswordWork:
    """Hashes and compares passwords."""

    def __init__(self, cost: int) -> None:
        """`cost`: `--bcrypt-cost`."""
        self._cost = cost
        self._threads = ThreadPoolExecutor(
            THREADS, thread_name_prefix="bcrypt", initializer=_lower_priority
        )
        self._running = 0
        self._waiting = 0
        #: Address -> its waiting calls; the address whose turn is next first.
        self._queues: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        #: Compared with if no user has a password; made at the first need.
        self._decoy: bytes | None = None

    async def hash(self, password: str, address: str) -> bytes:
        """Return the bcrypt hash. Raises PasswordTooLong or TOO_MANY_REQUESTS."""
        await self._turn(address)
        return await self._run(lambda: passwords.hash_password(password, self._cost))

    async def check(
        self, password: str, hashed: bytes | None, address: str, permit: Callable[[], None]
    ) -> bool:
        """Return whether `hashed` is of this password; for None, False after the same time.
        `permit` runs when this call's turn comes, and may raise. Raises TOO_MANY_REQUESTS.
        """
        await self._turn(address)
        try:
            permit()
        except BaseException:
            self._end_turn()
            raise
        return await self._run(lambda: self._compare(password, hashed))

    def close(self) -> None:
        """Take no more work."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _compare(self, password: str, hashed: bytes | None) -> bool:
        """Compare in a worker thread."""
        if hashed is not None:
            return passwords.check_password(password, hashed)
        if self._decoy is None:
            self._decoy = passwords.decoy(self._cost)
        passwords.check_password(password, self._decoy)
        return False

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._end_turn()

    async def _turn(self, address: str) -> None:
        """Wait for a thread. Raises TOO_MANY_REQUESTS."""
        if self._running < THREADS:
            self._running += 1
            return
        turn = self._enqueue(address)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._end_turn()
            raise

    def _enqueue(self, address: str) -> asyncio.Future[None]:
        length = len(self._queues.get(address, ()))
        if length >= MAX_QUEUE:
            raise TOO_MANY_REQUESTS()
        if self._waiting >= MAX_WAITING:
            self._shorten_longest(length)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(address, deque()).append(turn)
        self._waiting += 1
        return turn

    def _shorten_longest(self, length: int) -> None:
        """Refuse the last call of the longest queue. Raises TOO_MANY_REQUESTS if none is longer
        than `length`.
        """
        longest = max(self._queues.values(), key=len)
        if len(longest) <= max(length, 1):
            raise TOO_MANY_REQUESTS()
        last = longest.pop()
        self._waiting -= 1
        if not last.done():
            last.set_exception(TOO_MANY_REQUESTS())

    def _end_turn(self) -> None:
        self._running -= 1
        while self._queues and self._running < THREADS:
            address, queue = self._queues.popitem(last=False)
            turn = queue.popleft()
            self._waiting -= 1
            if queue:
                self._queues[address] = queue
            if not turn.done():
                self._running += 1
                turn.set_result(None)


def _lower_priority() -> None:
    """On Linux the nice value belongs to the thread."""
    os.nice(NICENESS)
