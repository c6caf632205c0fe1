"""Bootstrap by a registry in another etcd: its protocol, without the network.

    /_etcd/registry/TOKEN/_config/size       members of the cluster, written by the operator
    /_etcd/registry/TOKEN/members/MEMBER_ID  NAME=PEER_URL,…, written by each member

A member writes its own key and waits until there are as many as the size says. The first ones by
create revision are the cluster; a member that comes later is refused. Source: etcd's v3 discovery.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol, TypeVar

from rusd.base.logs import get_logger
from rusd.config import ConfigError

log = get_logger(__name__)

T = TypeVar("T")

_PREFIX = "/_etcd/registry"
#: Seconds between two reads of the registered members.
POLL = 0.5
#: Seconds before a failed call is repeated; doubled each time.
FIRST_PAUSE = 2.0
#: Longest pause, in seconds, before a failed call is repeated (etcd: the same).
_MAX_BACK_OFF = 256.0


class Registered(NamedTuple):
    """A registered key."""

    key: str
    value: str
    create_revision: int


class RegistryCalls(Protocol):
    """Calls of the registry to the other etcd. Both raise OSError if they fail."""

    async def get(self, prefix: str) -> list[Registered]:
        """Return all keys that begin with `prefix`."""

    async def put(self, key: str, value: str) -> None:
        """Write one key."""


class Registry:
    """The registry of one cluster, named by its token."""

    def __init__(self, client: RegistryCalls, token: str) -> None:
        self._client = client
        self._size_key = f"{_PREFIX}/{token}/_config/size"
        self._members = f"{_PREFIX}/{token}/members"

    async def join(self, member: int, urls: str) -> str:
        """Register `member` (`urls`: NAME=PEER_URL,…); return the initial cluster once it is
        complete.

        Failed calls are repeated without limit. Raises ConfigError, with etcd's text.
        """
        own = f"{self._members}/{member:x}"
        await self._check(own)
        await self._repeated("register member itself", lambda: self._client.put(own, urls))
        log.info(
            "register member itself successfully",
            extra={"fields": {"memberKey": own, "memberInfo": urls}},
        )
        size, found = await self._check(own)
        while len(found) < size:
            log.info(
                "waiting for peers from discovery service",
                extra={"fields": {"clusterSize": size, "found-peers": len(found)}},
            )
            known = len(found)
            while len(found) == known:
                await asyncio.sleep(POLL)
                found = await self._found()
        return ",".join(each.value for each in found[:size])

    async def _check(self, own: str) -> tuple[int, list[Registered]]:
        """Check the cluster size and the registered members. Raises ConfigError if there is no
        place for `own`.
        """
        size = await self._size()
        found = await self._found()
        others = [each for each in found[:size] if each.key != own]
        if len(others) >= size:
            raise ConfigError("discovery: cluster is full")
        return size, found

    async def _size(self) -> int:
        read = await self._repeated(
            "cluster status check", lambda: self._client.get(self._size_key)
        )
        values = [each.value for each in read if each.key == self._size_key]
        if not values:
            raise ConfigError("discovery: size key not found")
        try:
            size = int(values[0])
        except ValueError:
            size = 0
        if size <= 0:
            raise ConfigError("discovery: size key is bad")
        return size

    async def _found(self) -> list[Registered]:
        """Return the registered members in order of registration, without malformed keys."""
        prefix = f"{self._members}/"
        read = await self._repeated("cluster status check", lambda: self._client.get(prefix))
        for each in read:
            if "=" not in each.value:
                log.warning(
                    "invalid peer info returned from discovery service",
                    extra={"fields": {"memberKey": each.key, "memberInfo": each.value}},
                )
        good = [each for each in read if "=" in each.value]
        return sorted(good, key=lambda each: each.create_revision)

    async def _repeated(self, step: str, call: Callable[[], Awaitable[T]]) -> T:
        pause = FIRST_PAUSE
        while True:
            try:
                return await call()
            except OSError as error:
                fields = {"reason": step, "backoff": f"{pause:g}s", "error": str(error)}
                log.warning("retry connecting to discovery service", extra={"fields": fields})
            await asyncio.sleep(pause)
            pause = min(2 * pause, _MAX_BACK_OFF)
