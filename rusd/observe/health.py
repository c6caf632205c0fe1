"""Health checks of a member, as data: what /health, /livez, /readyz and /version report.

A linearizable read proves that this member reaches a leader with a quorum. `rusd/member/pages.py`
makes HTTP responses of the results.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol

from rusd import ETCD_VERSION
from rusd.base.errors import Refusal
from rusd.proto import rpc_pb2 as rpc
from rusd.raft.interface import ReadIndex, Role
from rusd.rpc.errors import as_etcd
from rusd.state.interface import WithAlarms, WithMembers

#: Seconds a linearizable read may take before the member counts as unhealthy.
READ_TIMEOUT = 5.0


class CheckResult(NamedTuple):
    """The outcome of one check."""

    name: str
    #: Why it failed, in etcd's words; "" if it passed.
    error: str
    #: Whether its failure leaves the member healthy.
    advisory: bool = False


class Unready(Exception):
    """A check failed; the reason in etcd's words."""


class Node(Role, ReadIndex, Protocol):
    """The part of the Raft node that this room uses."""


class Machine(WithAlarms, WithMembers, Protocol):
    """The part of the state machine in use."""


_ALARMS: dict[int, str] = {rpc.NOSPACE: "NOSPACE", rpc.CORRUPT: "CORRUPT"}

Check = Callable[[], Awaitable[None]]


async def _decided() -> None:
    """The cluster version of a member that is built without one."""


def _unready_if(look: Callable[[], str]) -> Check:
    async def check() -> None:
        if reason := look():
            raise Unready(reason)

    return check


#: Of a member that has none.
NO_ADVICE: Mapping[str, Callable[[], str]] = MappingProxyType({})


class HealthChecks:
    """The checks of one member."""

    def __init__(
        self,
        node: Node,
        machine: Machine,
        decided: Callable[[], Awaitable[None]] = _decided,
        advisory: Mapping[str, Callable[[], str]] = NO_ADVICE,
    ) -> None:
        """`decided` waits until there is a cluster version. `advisory`: further checks of /readyz
        by name, which return what is wrong; the member is healthy and ready all the same.
        """
        self._advisory = frozenset(advisory)
        self._decided = decided
        self._node = node
        self._machine = machine
        self._live: dict[str, Check] = {"serializable_read": self._serializable_read}
        #: Results of `health`, counted for the metrics etcd_server_health_*.
        self.successes = 0
        self.failures = 0
        #: Runs of each check, by (livez or readyz, check, passed).
        self.checked: Counter[tuple[str, str, bool]] = Counter()
        #: The last result of each, by (livez or readyz, check).
        self.latest: dict[tuple[str, str], bool] = {}
        self._ready: dict[str, Check] = {
            "data_corruption": self._data_corruption,
            "serializable_read": self._serializable_read,
            "linearizable_read": self._linearizable_read,
            "non_learner": self._non_learner,
            **{name: _unready_if(look) for name, look in advisory.items()},
        }

    def versions(self) -> dict[str, str]:
        """Return the versions of server, cluster and storage, as /version names them."""
        return {
            "etcdserver": ETCD_VERSION,
            "etcdcluster": self._machine.members.cluster_version or "not_decided",
            "storage": self._machine.members.storage_version,
        }

    async def health(self, exclude: Iterable[str], serializable: bool) -> str:
        """Return why this member is unhealthy, "" if it is healthy: alarms except `exclude`, no
        leader, or, unless `serializable`, a failed linearizable read. As etcd's /health.
        """
        reason = await self._unhealthy(set(exclude), serializable)
        if reason:
            self.failures += 1
        else:
            self.successes += 1
        return reason

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
            async with asyncio.timeout(READ_TIMEOUT):
                await self._node.read_index()
                # So that /version never says "not_decided" afterwards.
                await self._decided()
        except (Refusal, TimeoutError) as error:
            return f"RANGE ERROR:{_text(error)}"
        return ""

    @property
    def paths(self) -> list[str]:
        """Return the pages of the checks: of all together, and of each."""
        probes = {"/livez": self._live, "/readyz": self._ready}
        return [*probes, *(f"{path}/{name}" for path, checks in probes.items() for name in checks)]

    async def live(self, only: str, exclude: Iterable[str]) -> list[CheckResult]:
        """Return the results of the liveness checks: all except `exclude`, or `only` one."""
        return await self._run("livez", self._live, only, set(exclude))

    async def ready(self, only: str, exclude: Iterable[str]) -> list[CheckResult]:
        """Return the results of the readiness checks, selected as by `live`."""
        return await self._run("readyz", self._ready, only, set(exclude))

    async def _serializable_read(self) -> None:
        """Always passes: reading the local state depends on nothing else."""

    async def _linearizable_read(self) -> None:
        await asyncio.wait_for(self._node.read_index(), READ_TIMEOUT)

    async def _data_corruption(self) -> None:
        if self._machine.alarms.corrupt:
            raise Unready("alarm activated: CORRUPT")

    async def _non_learner(self) -> None:
        if self._node.is_learner:
            raise Unready("not supported for learner")

    async def _run(
        self, probe: str, checks: dict[str, Check], only: str, exclude: set[str]
    ) -> list[CheckResult]:
        if only:
            # A check that is named always runs.
            exclude = set()
            checks = {only: checks[only]}
        results = []
        for name, check in checks.items():
            if name in exclude:
                continue
            advisory = name in self._advisory
            try:
                await check()
            except (Refusal, Unready, TimeoutError) as error:
                results.append(CheckResult(name, _text(error), advisory))
            else:
                results.append(CheckResult(name, "", advisory))
            self.latest[probe, name] = not results[-1].error
            self.checked[probe, name, not results[-1].error] += 1
        return results


def _text(error: Exception) -> str:
    return str(as_etcd(error) or error) or "context deadline exceeded"
