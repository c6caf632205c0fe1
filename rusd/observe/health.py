"""Health over HTTP: /health, /livez, /readyz, /version as etcd answers them.

Each probe returns status and body; the door maps them to HTTP. Checks read like any client: a
linearizable read proves that this member can reach a leader with a quorum behind it.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple, Protocol

from rusd import ETCD_VERSION
from rusd.api.maintenance import STORAGE_VERSION
from rusd.base.errors import Refusal
from rusd.proto import rpc_pb2 as rpc
from rusd.raft.interface import ReadIndex, Role
from rusd.rpc.errors import as_etcd
from rusd.state.alarms import Alarms
from rusd.state.members import Members

#: Seconds a probe's read may take before the member counts as unhealthy.
READ_TIMEOUT = 5.0


_PLAIN = "text/plain; charset=utf-8"


class Reply(NamedTuple):
    """An HTTP answer."""

    status: int
    content_type: str
    body: str
    #: Whether browsers are told to take the content type as it is ("nosniff").
    strict: bool = True


#: Any page there is not.
NOT_FOUND = Reply(404, _PLAIN, "404 page not found\n")
#: Any method but the one a page has.
NOT_ALLOWED = Reply(405, _PLAIN, "Method Not Allowed\n")


class Unready(Exception):
    """Why a check failed, in etcd's words."""


class Node(Role, ReadIndex, Protocol):
    """What is used of the Raft node."""


class Machine(Protocol):
    """What the probes need of the state machine."""

    @property
    def alarms(self) -> Alarms: ...
    @property
    def members(self) -> Members: ...


_ALARMS: dict[int, str] = {rpc.NOSPACE: "NOSPACE", rpc.CORRUPT: "CORRUPT"}

Check = Callable[[], Awaitable[None]]


class Probes:
    """One member's probes."""

    def __init__(self, node: Node, machine: Machine) -> None:
        self._node = node
        self._machine = machine
        self._live: dict[str, Check] = {"serializable_read": self._serializable_read}
        #: Answers of /health by outcome, as the metrics etcd_server_health_* count them.
        self.successes = 0
        self.failures = 0
        #: Runs of each check by (livez or readyz, check, whether it passed).
        self.checked: Counter[tuple[str, str, bool]] = Counter()
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
        text = json.dumps(body, separators=(",", ":"))
        return Reply(200, "application/json", text, strict=False)

    async def health(self, exclude: Iterable[str], serializable: bool) -> Reply:
        """GET /health: alarms (but those excluded), leader, a read; in this order."""
        reason = await self._unhealthy(set(exclude), serializable)
        body = {"health": "false" if reason else "true", "reason": reason}
        text = json.dumps(body, separators=(",", ":"))
        if reason:
            self.failures += 1
            return Reply(503, _PLAIN, text + "\n")
        self.successes += 1
        return Reply(200, _PLAIN, text, strict=False)

    async def _unhealthy(self, exclude: set[str], serializable: bool) -> str:
        for alarm in self._machine.alarms:
            name = _ALARMS.get(alarm.kind, "UNKNOWN")
            if name not in exclude:
                return f"ALARM {name}"
        if serializable:
            return ""
        if not self._node.leader_id:
            return "RAFT NO LEADER"
        try:
            await self._linearizable_read()
        except (Refusal, TimeoutError) as error:
            return f"RANGE ERROR:{_text(error)}"
        return ""

    async def live(self, only: str, exclude: Iterable[str], verbose: bool) -> Reply:
        """GET /livez, /livez/<check>."""
        return await self._run("livez", self._live, only, set(exclude), verbose)

    async def ready(self, only: str, exclude: Iterable[str], verbose: bool) -> Reply:
        """GET /readyz, /readyz/<check>."""
        return await self._run("readyz", self._ready, only, set(exclude), verbose)

    async def _serializable_read(self) -> None:
        """Answering at all is the proof: reads of the local state need nobody."""

    async def _linearizable_read(self) -> None:
        await asyncio.wait_for(self._node.read_index(), READ_TIMEOUT)

    async def _data_corruption(self) -> None:
        if self._machine.alarms.corrupt:
            raise Unready("alarm activated: CORRUPT")

    async def _non_learner(self) -> None:
        if self._node.is_learner:
            raise Unready("not supported for learner")

    async def _run(
        self, probe: str, checks: dict[str, Check], only: str, exclude: set[str], verbose: bool
    ) -> Reply:
        """All checks but those excluded, or `only` one; a check asked for by name always runs."""
        if only:
            if only not in checks:
                return NOT_FOUND
            exclude = set()
            checks = {only: checks[only]}
        lines, failed = "", False
        for name, check in checks.items():
            if name in exclude:
                continue
            try:
                await check()
            except (Refusal, Unready, TimeoutError) as error:
                failed = True
                lines += f"[-]{name} failed: {_text(error)}\n"
                self.checked[probe, name, False] += 1
            else:
                lines += f"[+]{name} ok\n"
                self.checked[probe, name, True] += 1
        if failed:
            return Reply(503, _PLAIN, lines + "\n")
        return Reply(200, _PLAIN, (lines if verbose else "") + "ok\n")


def _text(error: Exception) -> str:
    return str(as_etcd(error) or error) or "context deadline exceeded"
