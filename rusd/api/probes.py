"""Health over HTTP: /health, /livez, /readyz, /version as etcd answers them.

Each probe returns status and body; the door maps them to HTTP. Checks read like any client: a
linearizable read proves that this member can reach a leader with a quorum behind it.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple, Protocol

from rusd import ETCD_VERSION
from rusd.api.maintenance import STORAGE_VERSION
from rusd.errors import CORRUPT, EtcdError
from rusd.state.alarms import Alarms
from rusd.state.members import Members

#: Seconds a probe's read may take before the member counts as unhealthy.
READ_TIMEOUT = 5.0


class Reply(NamedTuple):
    """An HTTP answer."""

    status: int
    content_type: str
    body: str


class Node(Protocol):
    """What the probes need of Raft."""

    @property
    def leader_id(self) -> int: ...
    def read_index(self) -> asyncio.Future[None]: ...


class Machine(Protocol):
    """What the probes need of the state machine."""

    @property
    def alarms(self) -> Alarms: ...
    @property
    def members(self) -> Members: ...


Check = Callable[[], Awaitable[None]]


class Probes:
    """One member's probes."""

    def __init__(self, node: Node, machine: Machine) -> None:
        self._node = node
        self._machine = machine
        self._live: dict[str, Check] = {"serializable_read": self._serializable_read}
        self._ready: dict[str, Check] = {
            "data_corruption": self._data_corruption,
            "serializable_read": self._serializable_read,
            "linearizable_read": self._linearizable_read,
            "non_learner": self._non_learner,
        }

    def version(self) -> Reply:
        """GET /version."""
        cluster = self._machine.members.cluster_version
        body = {
            "etcdserver": ETCD_VERSION,
            "etcdcluster": cluster or "not_decided",
            "storage": STORAGE_VERSION,
        }
        return Reply(200, "application/json", json.dumps(body, separators=(",", ":")))

    async def health(self, exclude: Iterable[str], serializable: bool) -> Reply:
        """GET /health: alarms (but those excluded), leader, a read; in this order."""
        reason = await self._unhealthy(set(exclude), serializable)
        body = {"health": "false" if reason else "true", "reason": reason}
        text = json.dumps(body, separators=(",", ":"))
        return Reply(503 if reason else 200, "application/json", text)

    async def _unhealthy(self, exclude: set[str], serializable: bool) -> str:
        alarms = self._machine.alarms
        for name, active in (("NOSPACE", alarms.no_space), ("CORRUPT", alarms.corrupt)):
            if active and name not in exclude:
                return f"ALARM {name}"
        if serializable:
            return ""
        if not self._node.leader_id:
            return "RAFT NO LEADER"
        try:
            await self._linearizable_read()
        except (EtcdError, TimeoutError) as error:
            return f"RANGE ERROR:{error or 'context deadline exceeded'}"
        return ""

    async def live(self, only: str, exclude: Iterable[str], verbose: bool) -> Reply:
        """GET /livez, /livez/<check>."""
        return await _run(self._live, only, set(exclude), verbose)

    async def ready(self, only: str, exclude: Iterable[str], verbose: bool) -> Reply:
        """GET /readyz, /readyz/<check>."""
        return await _run(self._ready, only, set(exclude), verbose)

    async def _serializable_read(self) -> None:
        """Answering at all is the proof: reads of the local state need nobody."""

    async def _linearizable_read(self) -> None:
        await asyncio.wait_for(self._node.read_index(), READ_TIMEOUT)

    async def _data_corruption(self) -> None:
        if self._machine.alarms.corrupt:
            raise CORRUPT

    async def _non_learner(self) -> None:
        """Members are voters until learners are built."""


async def _run(checks: dict[str, Check], only: str, exclude: set[str], verbose: bool) -> Reply:
    if only:
        if only not in checks:
            return Reply(404, "text/plain; charset=utf-8", "404 page not found\n")
        checks = {only: checks[only]}
    lines, failed = [], False
    for name, check in checks.items():
        if name in exclude:
            lines.append(f"[+]{name} excluded: ok")
            continue
        try:
            await check()
        except (EtcdError, TimeoutError) as error:
            failed = True
            lines.append(f"[-]{name} failed: {error or 'context deadline exceeded'}")
        else:
            lines.append(f"[+]{name} ok")
    text = "".join(line + "\n" for line in lines) if failed or verbose else ""
    return Reply(
        503 if failed else 200,
        "text/plain; charset=utf-8",
        text if failed else text + "ok\n",
    )
