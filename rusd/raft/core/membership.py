"""The membership in use: that of the state machine, or a later one learned from peers.

The state machine says it when it applies a ConfChange, or is replaced by a snapshot (`apply`).
Others say it to a member that has fallen behind (`meet`): it may be led by a member that joined
meanwhile, and has to accept that leader's messages before its own state names it. Such a member has
no vote here, and is forgotten when the state has come to name it, or to say that it was removed. A
member may also have moved to other URLs meanwhile, under which alone it can be dialled to learn so
from the log.
"""

from collections.abc import Sequence
from dataclasses import replace

from rusd.base.logs import get_logger
from rusd.raft.core.algorithm import Algorithm
from rusd.raft.core.campaign import Campaign
from rusd.raft.core.outbox import Outbox
from rusd.raft.core.ready import MembershipChange
from rusd.raft.ports import Membership
from rusd.raft.read.linearizable import LinearizableReads
from rusd.raft.transport.frames import TimeoutNow

log = get_logger(__name__)


class ActiveMembership:
    """The membership of one member."""

    def __init__(
        self,
        membership: Membership,
        member: int,
        raft: Algorithm,
        campaign: Campaign,
        reads: LinearizableReads,
        outbox: Outbox,
    ) -> None:
        """`membership`: to begin with."""
        self._applied = membership
        self._member = member
        self._raft = raft
        self._campaign = campaign
        self._reads = reads
        self._outbox = outbox
        #: Members that only others know of yet, and newer URLs of those that are known.
        self._met: dict[int, Sequence[str]] = {}
        #: Whether `take` would return a change.
        self.changed = False

    def apply(self, membership: Membership) -> None:
        """Use the membership that the state machine applied. Removed members are sent the commit
        index first, so that each learns of its removal from its own log.
        """
        raft = self._raft
        self._applied = membership
        known = membership.urls.keys() | membership.removed
        self._met = {member: urls for member, urls in self._met.items() if member not in known}
        if raft.is_leader:
            leaves = self._member not in membership.voters
            if leaves or set(raft.peers) - membership.urls.keys():
                raft.send_appends()
            if leaves:
                self._hand_on()
        self._reconfigure()

    def meet(self, others: Membership, index: int) -> None:
        """Consider the member list of peers, which may be ahead of this member's state or behind
        it. It is not older than entry `index` of the log.
        """
        known = {**self._applied.urls, **self._met}
        newer = index > self._raft.applied_index
        new = {
            member: urls
            for member, urls in others.urls.items()
            if member not in self._applied.removed | {self._member}
            and (member not in known or (newer and sorted(urls) != sorted(known[member])))
        }
        if new:
            fields = {f"{member:x}": list(urls) for member, urls in new.items()}
            log.info("met members, or new URLs of members", extra={"fields": fields})
            self._met |= new
            self._reconfigure()

    def take(self) -> MembershipChange | None:
        """Returns the membership if it changed since the last call."""
        if not self.changed:
            return None
        self.changed = False
        return MembershipChange(self._applied, self._effective())

    def _effective(self) -> Membership:
        known, met = self._applied, self._met
        learners = known.learners | (met.keys() - known.urls.keys())
        return replace(known, learners=learners, urls={**known.urls, **met})

    def _reconfigure(self) -> None:
        self._raft.reconfigure(self._effective())
        self._campaign.reconfigured()
        self._reads.reconfigured()
        self.changed = True

    def _hand_on(self) -> None:
        """Transfer leadership of a removed or demoted leader to the most up-to-date voter."""
        raft = self._raft
        candidates = sorted(self._applied.voters & set(raft.connected_peers))
        if candidates:
            best = max(candidates, key=raft.match_index)
            self._outbox.send(best, TimeoutNow(raft.term))
