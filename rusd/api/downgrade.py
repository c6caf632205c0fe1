"""Maintenance.Downgrade: announces that members will be replaced by those of the release before.

    VALIDATE  answers whether the cluster may go to a version: one minor below its own
    ENABLE    sets it as the target; the leader then lowers the cluster version
                (`rusd/member/cluster_version.py`), and Status shows target and storage version
    CANCEL    forgets the target; the cluster version rises again

Source: etcd's server/etcdserver/version. Unlike etcd, a target is not cancelled once all members
run that release: members do not tell each other which release of etcd's API they serve.
"""

import re
from typing import Protocol

from rusd.base.logs import get_logger
from rusd.proto import rpc_pb2 as rpc
from rusd.raft.interface import Features, Proposer, ReadIndex
from rusd.rpc.errors import (
    CLUSTER_VERSION_UNAVAILABLE,
    DOWNGRADE_IN_PROCESS,
    INVALID_DOWNGRADE_TARGET,
    MEMBER_TOO_OLD_TO_DOWNGRADE,
    UNKNOWN_METHOD,
    WRONG_DOWNGRADE_FORMAT,
)
from rusd.state.command import DOWNGRADES, Kind, encode
from rusd.state.members import Members

log = get_logger(__name__)

#: MAJOR.MINOR or MAJOR.MINOR.PATCH with the additions of semantic versions.
_VERSION = re.compile(
    r"(\d{1,9})\.(\d{1,9})(?:\.\d{1,9}(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?)?"
)


class Node(Proposer, ReadIndex, Features, Protocol):
    """The part of the Raft node in use."""


class Downgrade:
    """The actions validate, enable and cancel; each returns the cluster version as MAJOR.MINOR."""

    def __init__(self, node: Node, members: Members) -> None:
        self._node = node
        self._members = members

    async def act(self, request: rpc.DowngradeRequest) -> str:
        """Run one action. Raises etcd's refusals of a downgrade, and
        MEMBER_TOO_OLD_TO_DOWNGRADE.
        """
        if request.action == rpc.DowngradeRequest.VALIDATE:
            return await self._validated(request.version)
        if request.action == rpc.DowngradeRequest.ENABLE:
            version = await self._validated(request.version)
            major, minor = _parsed(request.version)
            await self._propose(f"{major}.{minor}.0")
            return version
        if request.action == rpc.DowngradeRequest.CANCEL:
            await self._node.read_index()
            if self._members.downgrade_target is None:
                log.warning("failed to cancel downgrade: no inflight downgrade job")
            else:
                await self._propose("")
            return self._cluster_version()
        raise UNKNOWN_METHOD()

    async def _validated(self, text: str) -> str:
        target = _parsed(text)
        version = self._cluster_version()
        await self._node.read_index()
        major, minor = _parsed(self._cluster_version())
        if target != (major, minor - 1):
            raise INVALID_DOWNGRADE_TARGET()
        if self._members.downgrade_target is not None:
            raise DOWNGRADE_IN_PROCESS()
        return version

    async def _propose(self, target: str) -> None:
        if not self._node.can_apply(DOWNGRADES):
            raise MEMBER_TOO_OLD_TO_DOWNGRADE()
        await self._node.propose(encode(Kind.DOWNGRADE, target.encode()))

    def _cluster_version(self) -> str:
        version = self._members.cluster_version
        if version is None:
            raise CLUSTER_VERSION_UNAVAILABLE()
        return ".".join(version.split(".")[:2])


def _parsed(text: str) -> tuple[int, int]:
    found = _VERSION.fullmatch(text)
    if found is None:
        raise WRONG_DOWNGRADE_FORMAT()
    return int(found[1]), int(found[2])
