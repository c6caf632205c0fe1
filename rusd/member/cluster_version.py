"""Sets the cluster version: a new leader proposes it if it differs from the current one.

etcd keeps the lowest version of all members there. Members of rusd all serve the same release of
etcd's API, so the leader's own is proposed, or the target of a downgrade that was requested.
"""

import asyncio
import contextlib
from typing import Protocol

from rusd import ETCD_VERSION
from rusd.base.errors import Refusal
from rusd.base.logs import get_logger
from rusd.raft.interface import Proposer, Role
from rusd.state.command import Kind, encode
from rusd.state.members import Members

log = get_logger(__name__)

#: Major and minor of the etcd release that is served.
CLUSTER_VERSION = ".".join(ETCD_VERSION.split(".")[:2]) + ".0"
#: Seconds between two attempts of a leader.
INTERVAL = 1.0
#: Seconds between two looks whether it is decided.
UNDECIDED = 0.01


class Node(Proposer, Role, Protocol):
    """The part of the Raft node that this room uses."""


class ClusterVersion:
    """Proposes the version while this member leads and the cluster has another one."""

    def __init__(self, node: Node, members: Members) -> None:
        self._node = node
        self._members = members
        self._elected = asyncio.Event()

    def on_role(self, leader_id: int, term: int, is_leader: bool) -> None:
        """A `rusd.raft.ports.RoleListener`."""
        if is_leader:
            self._elected.set()

    async def decided(self) -> None:
        """Wait until there is a cluster version: moments after the first leader of a cluster."""
        # No event tells when it is applied.
        while not self._members.cluster_version:  # noqa: ASYNC110
            await asyncio.sleep(UNDECIDED)

    async def run(self) -> None:
        """Propose until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(INTERVAL):
                    await self._elected.wait()
            self._elected.clear()
            version = self._members.downgrade_target or CLUSTER_VERSION
            if self._node.is_leader and self._members.cluster_version != version:
                try:
                    await self._node.propose(encode(Kind.CLUSTER_VERSION, version.encode()))
                except Refusal as error:
                    log.warning("cluster version not set", extra={"fields": {"error": str(error)}})
