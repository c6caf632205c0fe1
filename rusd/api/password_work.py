"""bcrypt in threads: some 50 ms of CPU each at the default cost, never on the loop.

At most `THREADS` run at a time and `MAX_WAITING` wait; beyond that a request is refused with
TOO_MANY_REQUESTS, so that logins cannot take all CPUs or pile up.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from rusd.auth import passwords
from rusd.rpc.errors import TOO_MANY_REQUESTS

T = TypeVar("T")

THREADS = 2
MAX_WAITING = 200


class PasswordWork:
    """Hashes and compares passwords."""

    def __init__(self, cost: int) -> None:
        """`cost`: `--bcrypt-cost`."""
        self._cost = cost
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="bcrypt")
        self._waiting = 0
        #: Compared with for a user that does not exist; made at the first need.
        self._decoy: bytes | None = None

    async def hash(self, password: str) -> bytes:
        """Raises PasswordTooLong or TOO_MANY_REQUESTS."""
        return await self._run(lambda: passwords.hash_password(password, self._cost))

    async def check(self, password: str, hashed: bytes | None) -> bool:
        """Whether `hashed` is of this password. None for the hash of a user that does not exist:
        False, after the same time. Raises TOO_MANY_REQUESTS."""
        if hashed is not None:
            return await self._run(lambda: passwords.check_password(password, hashed))
        if self._decoy is None:
            self._decoy = await self._run(lambda: passwords.decoy(self._cost))
        decoy = self._decoy
        await self._run(lambda: passwords.check_password(password, decoy))
        return False

    def close(self) -> None:
        """Take no more work."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= MAX_WAITING:
            raise TOO_MANY_REQUESTS()
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1
