"""Sets the cluster version: the leader proposes it once, when it differs from its own.

etcd keeps the lowest version of all members there. Members of rusd all serve the same release of
etcd's API, so the leader's own is proposed, or the target of a downgrade that was requested.
"""

import asyncio
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
#: Seconds between two checks.
INTERVAL = 1.0


class Node(Proposer, Role, Protocol):
    """What is used of the Raft node."""


async def keep_cluster_version(node: Node, members: Members) -> None:
    """Propose the version while this member leads and another one is set; until cancelled."""
    while True:
        await asyncio.sleep(INTERVAL)
        version = members.downgrade_target or CLUSTER_VERSION
        if node.is_leader and members.cluster_version != version:
            try:
                await node.propose(encode(Kind.CLUSTER_VERSION, version.encode()))
            except Refusal as error:
                log.warning("cluster version not set", extra={"fields": {"error": str(error)}})
