"""Other members than before: what a node does when its state, or somebody else, says so.

The state machine says it when it applies a change (`apply`), or is replaced by a snapshot. Others
say it to a member that has fallen behind (`meet`): it may be led by one that joined meanwhile, and
has to let it in before its own state names it. Such a member has no vote here, and is forgotten
again when the state has come to name it, or to say that it was removed. And a member may have moved
to other URLs meanwhile, under which alone it can be dialled to learn so from the log.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from rusd.base.logs import get_logger
from rusd.raft.core.campaign import Campaign
from rusd.raft.core.outbox import Outgoing
from rusd.raft.core.syncobj import RaftCore
from rusd.raft.ports import Membership
from rusd.raft.read.messages import Reading
from rusd.raft.snapshots.streams import CatchUp
from rusd.raft.transport import member_query
from rusd.raft.transport.frames import TimeoutNow
from rusd.raft.transport.handshake import Handshake
from rusd.raft.transport.peers import Peers
from rusd.raft.transport.requests import Asks

log = get_logger(__name__)


class Reconfiguring:
    """The membership of one node, and who has to know of it."""

    #: Elections; assigned when the node begins.
    campaign: Campaign

    def __init__(
        self,
        membership: Membership,
        cluster: int,
        core: RaftCore,
        peers: Peers,
        outgoing: Outgoing,
        catchup: CatchUp,
        asks: Asks,
        reading: Reading,
        now: Callable[[], float],
        handshake: Handshake,
    ) -> None:
        """`membership`: to begin with. `now` gives the member's time."""
        self._membership = membership
        self._cluster = cluster
        self._core = core
        self._peers = peers
        self._outgoing = outgoing
        self._catchup = catchup
        self._asks = asks
        self._reading = reading
        self._now = now
        self._handshake = handshake
        handshake.started = membership.started
        #: Members that only others know of yet, and newer URLs of those that are known.
        self._met: dict[int, Sequence[str]] = {}
        #: Called once, when this member learns that it is no member any more.
        self.on_removed: Callable[[], None] = lambda: None
        self._removed = False

    def apply(self, membership: Membership) -> None:
        """The state names these members from now on."""
        core = self._core
        self._membership = membership
        self._handshake.started = membership.started
        known = membership.urls.keys() | membership.removed
        self._met = {member: urls for member, urls in self._met.items() if member not in known}
        if core.is_leader and core.peers.keys() - membership.urls.keys():
            self._announce()
        if core.is_leader and core.member not in membership.voters:
            self._leave()
        self._reconfigure()
        self.tell()
        if core.member in membership.removed:
            self.removed()

    def meet(self, others: Membership, index: int = 0) -> None:
        """Others name these members; they may be ahead of this one's state, or behind. Theirs is
        not older than entry `index` of the log."""
        known = {**self._membership.urls, **self._met}
        newer = index > self._core.applied_index
        new = {
            member: urls
            for member, urls in others.urls.items()
            if member not in self._membership.removed | {self._core.member}
            and (member not in known or (newer and sorted(urls) != sorted(known[member])))
        }
        if new:
            fields = {f"{member:x}": list(urls) for member, urls in new.items()}
            log.info("met members, or new URLs of members", extra={"fields": fields})
            self._met |= new
            self._reconfigure()

    def tell(self) -> None:
        """Let the peers' door answer whoever asks for the members, with what the state says."""
        self._peers.membership = self._answer

    def _answer(self) -> bytes:
        incarnations, index = self._handshake.incarnations(), self._core.applied_index
        return member_query.answer(
            member_query.Cluster(self._cluster, self._membership, incarnations, index)
        )

    def removed(self) -> None:
        """This member was removed, by its own state."""
        if not self._removed:
            self._removed = True
            asyncio.get_running_loop().call_soon(self.on_removed)

    def _reconfigure(self) -> None:
        core, known, met = self._core, self._membership, self._met
        strangers = met.keys() - known.urls.keys()
        membership = replace(known, learners=known.learners | strangers, urls={**known.urls, **met})
        gone = core.peers.keys() - membership.urls.keys()
        core.reconfigure(membership)
        self.campaign.reconfigured()
        self._reading.reconfigured()
        for member in gone:
            self._catchup.drop(member)
            self._asks.lost(member)
        self._peers.reconfigure(others(membership, core.member), membership.removed)

    def _announce(self) -> None:
        """Tell everybody of the commit index while they are still there: a member that is removed
        shall learn it from its own log."""
        self._core.send_appends()
        self._outgoing.early(self._catchup, self._now())

    def _leave(self) -> None:
        """A leader that was removed tells the others, who may go on without it, and lets the best
        of them take over."""
        core = self._core
        self._announce()
        candidates = sorted(self._membership.voters & self._peers.connected())
        if candidates:
            best = max(candidates, key=core.match_index)
            self._outgoing.later(best, TimeoutNow(core.term))


def others(membership: Membership, member: int) -> Mapping[int, Sequence[str]]:
    """Peer URLs of everybody but `member`."""
    return {other: urls for other, urls in membership.urls.items() if other != member}
