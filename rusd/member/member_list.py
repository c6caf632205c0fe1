"""Queries peers for the member list, and whether this member was removed.

A member learns of its removal and of new members through the log. It cannot while it has no leader,
and never once the others stopped talking to it. Then it asks its peers, at their own addresses, as
a member that joins does (`raft/transport/member_query.py`).
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from rusd.member.bootstrap import QUERY_TIMEOUT
from rusd.member.errors import RemovedByPeers
from rusd.member.identity import REMOVED, Identity
from rusd.raft.interface import Peers, Role
from rusd.raft.ports import WITHOUT_TLS, Membership, PeerTls
from rusd.raft.transport.member_query import ask_all

#: Seconds between two queries of a member without a leader.
INTERVAL = 2.0
#: Least seconds between two, however often peers report that this member was removed.
MIN_INTERVAL = 0.5
#: Seconds by which the leader's message that commits a removal may arrive behind a peer's answer.
UNDER_WAY = 1.0
#: Seconds between two looks at a flush or an apply that the removal waits for, and the most seconds
#: that it is waited for.
POLL = 0.05
PATIENCE = 10.0


class Node(Role, Peers, Protocol):
    """The part of the Raft node that this room uses."""

    @property
    def settled(self) -> bool:
        """Whether all that was received and committed is applied and flushed, and the log does not
        say that this member was removed.
        """

    def meet(self, membership: Membership, index: int) -> None:
        """Take over the member list of a peer, unless this member knows a later one."""


async def check_not_removed(
    own: Identity, peers: Iterable[Sequence[str]], tls: PeerTls = WITHOUT_TLS
) -> None:
    """Ask the peers at start, before this member takes part, whether it is still a member.

    They may have gone on without it (`--force-new-cluster`), and the first peer that connects may
    not know. Raises RemovedByPeers if one says that it was removed.
    """
    for found in await ask_all(peers, QUERY_TIMEOUT, tls):
        if found.id == own.cluster_id and own.member_id in found.membership.removed:
            raise RemovedByPeers(REMOVED)


class MemberList:
    """Queries the peers without a connection, or all peers while there is no leader."""

    def __init__(
        self,
        node: Node,
        own: Identity,
        urls: Callable[[], Mapping[int, Sequence[str]]],
        tls: PeerTls = WITHOUT_TLS,
    ) -> None:
        """`urls`: the peer URLs of every member, as far as this one knows."""
        self._node = node
        self._own = own
        self._urls = urls
        self._tls = tls
        self._reported = asyncio.Event()

    def removal_reported(self) -> None:
        """Query a peer that sent `removed`: only the answer at its own address is proof."""
        self._reported.set()

    async def run(self) -> None:
        """Query until cancelled. Raises RemovedByPeers once a peer says that this one was removed
        and its own log does not.

        Without a leader every peer is asked: the leader may have joined meanwhile, or moved to
        other URLs. With one, only the peers without a connection are. One answer is enough, as for
        etcd: a removal is final, and a cluster that was forced to begin anew has one member.
        """
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(INTERVAL):
                    await self._reported.wait()
            peers = self._peers_to_ask()
            self._reported.clear()
            for found in await ask_all(peers, tls=self._tls):
                if found.id != self._own.cluster_id:
                    continue
                if self._own.member_id in found.membership.removed:
                    await self._leave_it_to_the_log()
                    raise RemovedByPeers(REMOVED)
                if not self._node.leader_id:
                    self._node.meet(found.membership, found.index)
            await asyncio.sleep(MIN_INTERVAL)

    async def _leave_it_to_the_log(self) -> None:
        """Wait until this member's own log had time to say what peers say.

        A peer may apply a removal sooner than the removed member, to which the leader sent the
        commit as well: it is on its way, or waits for a flush or an apply. The log then ends the
        member with success (`on_removed`).
        """
        await asyncio.sleep(UNDER_WAY)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while not self._node.settled:  # noqa: ASYNC110 (the driver has no event for it)
                    await asyncio.sleep(POLL)

    def _peers_to_ask(self) -> list[Sequence[str]]:
        skipped = {self._own.member_id}
        if self._node.leader_id and not self._reported.is_set():
            status = self._node.peer_status()
            skipped |= {member for member, peer in status.items() if peer.connected}
        return [urls for member, urls in self._urls().items() if member not in skipped]
