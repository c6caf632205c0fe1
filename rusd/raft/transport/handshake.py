"""Decides from a hello whether the process that sent it may stand for the member it names.

    Hello {protocol, cluster, member, nonce, incarnation, term, index, joining, features}
    HelloRefused {reason, why, number, term, index}     in place of a hello, or behind it; then
                                                        the end

That the hello comes from the member is established before (`dial_back.py`), so of two
processes of a member only one at its own peer URLs gets in. `incarnation` (`incarnations.py`) names
the data directory and the start of the process; `term` and `index` tell how far its journal is. A
hello without them comes from an earlier release and is accepted. An incarnation is refused, with
`number` that of the last one known of the member:

    bootstrapped   a known member on an empty directory: its disk was lost
    older          a directory that holds less than the member has acknowledged: a copy, or another

A member refused as `bootstrapped` ends. As `older`, by a peer that was away for more starts than a
hello names, it names those around `number` in its next hello to that peer. Refused as `older` with
no such names left to give, it goes into quarantine: it counts for no quorum until it has caught up
(`core/quarantine.py`), and its next hello, which says so, is accepted.

A hello may arrive late, when the process that sent it has acknowledged more over another connection
of the pair. The refusal of a process that is known therefore names what it has acknowledged (`term`
and `index`): if its journal holds that, it only dials again.

Limit: an incarnation that no other member has recorded cannot be compared. A member that lost its
disk is new to members that never met it.
"""

from collections.abc import Callable, Collection
from typing import Literal

from msgspec import UNSET

from rusd.base.logs import get_logger
from rusd.raft.transport.frames import PROTOCOL, Hello, HelloRefused
from rusd.raft.transport.incarnations import Incarnation, Incarnations, Mark

log = get_logger(__name__)

Reason = Literal["bootstrapped", "older"]
BOOTSTRAPPED: Literal["bootstrapped"] = "bootstrapped"
OLDER: Literal["older"] = "older"
_REASONS = {
    BOOTSTRAPPED: "this member has already been bootstrapped, on another data directory",
    OLDER: "this data directory holds less than its member has acknowledged",
}


class Handshake:
    """One member's hellos, and its checks of other members' hellos."""

    def __init__(
        self,
        member: int,
        cluster: int,
        incarnations: Incarnations,
        *,
        mark: Callable[[], Mark],
        joining: Callable[[], bool],
        features: int = 0,
    ) -> None:
        """`mark`: position of this member's journal. `joining`: it has no state yet. `features`:
        `RaftConfig.features`.
        """
        self._member = member
        self._cluster = cluster
        self._incarnations = incarnations
        self._mark = mark
        self._joining = joining
        self._features = features
        #: Members that said hello from another data directory than the one they were connected
        #: with: what they acknowledged over the connection that still counts is of the old one.
        self._replacing: set[int] = set()
        #: Members whose last hello named no incarnation, which an early release does not know.
        self._without_incarnation: set[int] = set()
        #: Member -> the number from which on a hello to it names earlier incarnations.
        self._named_from: dict[int, int] = {}
        #: Members that were published, so their directories are not empty.
        self.started: Collection[int] = ()
        #: Returns what a member has acknowledged to this leader.
        self.acknowledged: Callable[[int], Mark] = lambda member: Mark()
        #: Called when another member knows that this one's disk was lost.
        self.on_bootstrapped: Callable[[], None] = lambda: None
        #: Called when this member must catch up; with the number of its last known incarnation.
        self.on_older: Callable[[int], None] = lambda number: None

    def hello(self, to: int) -> Hello:
        """Returns this member's hello to another. Raises OSError if its incarnation cannot be made
        durable.
        """
        mark = self._mark()
        return Hello(
            protocol=PROTOCOL,
            cluster=self._cluster,
            member=self._member,
            incarnation=self._incarnations.said(self._named_from.get(to)),
            term=mark.term,
            index=mark.index,
            joining=self._joining(),
            features=self._features,
        )

    def incarnations(self) -> dict[int, int]:
        """Return member id -> number of its last known incarnation."""
        return {
            member: record.incarnation.number for member, record in self._incarnations.peers.items()
        }

    def features(self, member: int) -> int | None:
        """Returns the features in another member's last hello: 0 if its release sends none, None if
        it has never sent a hello to this member.
        """
        if member in self._without_incarnation:
            return 0
        record = self._incarnations.peers.get(member)
        return None if record is None else record.features

    # Hellos of others

    def receive(self, hello: Hello) -> HelloRefused | None:
        """Check a hello whose member and cluster are right. Returns None if it may stand for the
        member, which is recorded; else the frame that refuses it.
        """
        incarnation = hello.incarnation
        member = hello.member
        if incarnation is UNSET:
            self._without_incarnation.add(member)
            return None
        why = self._judge(member, incarnation, Mark(hello.term, hello.index), hello.joining)
        if why is None:
            known = self._incarnations.peers.get(member)
            if known is not None and known.incarnation.directory != incarnation.directory:
                self._replacing.add(member)
            try:
                self._incarnations.record(member, incarnation, hello.features)
            except OSError as error:
                # (On a full disk: it may have room again when the other side dials again.)
                return HelloRefused(f"cannot record the member's incarnation: {error.strerror}")
            self._without_incarnation.discard(member)
            return None
        known = self._incarnations.peers.get(member)
        if known is None:
            return HelloRefused(_REASONS[why], why)
        number = known.incarnation.number
        # Of a process that was started later, or on a copy, the journal's length proves nothing.
        same = incarnation.nonce == known.incarnation.nonce
        return HelloRefused(_REASONS[why], why, number, *self._acknowledged(member) if same else ())

    def _judge(
        self, member: int, incarnation: Incarnation, mark: Mark, joining: bool
    ) -> Reason | None:
        known = self._incarnations.peers.get(member)
        empty = mark.index <= 1
        lost: Reason = BOOTSTRAPPED if empty and not joining else OLDER
        if incarnation.recovering:
            return None
        if known is None:
            return lost if empty and member in self.started else None
        if known.incarnation.directory != incarnation.directory:
            replaces = incarnation.replaces >= known.incarnation.number
            joins = joining and member not in self.started
            return None if replaces or joins else lost
        if not incarnation.follows(known.incarnation):
            return OLDER
        return OLDER if mark < self._acknowledged(member) else None

    def _acknowledged(self, member: int) -> Mark:
        """Return what a known member has acknowledged on the directory of its last hello."""
        acknowledged = self._incarnations.peers[member].acknowledged
        if member in self._replacing:
            return acknowledged
        return max(acknowledged, self.acknowledged(member))

    def connected(self, member: int) -> None:
        """Record that the connection of a member with an accepted hello is in use."""
        self._replacing.discard(member)

    def lost(self, member: int) -> None:
        """Record what a member has acknowledged, when its connection has ended.

        Not if the connection was of another data directory than the member has now.
        """
        if member in self._replacing:
            return
        try:
            self._incarnations.acknowledged(member, self.acknowledged(member))
        except OSError as error:
            fields = {"peer": f"{member:x}", "error": str(error)}
            log.warning("cannot record what a member has acknowledged", extra={"fields": fields})

    # Refusals by others

    def refused(self, by: int, refusal: HelloRefused) -> None:
        """Handle the refusal of this member's hello by another member."""
        why, number = refusal.why, refusal.number
        acknowledged = Mark(refusal.term, refusal.index)
        if Mark() < acknowledged <= self._mark():
            return  # the hello was late
        if why == BOOTSTRAPPED and self._mark().index <= 1 and not self._joining():
            self.on_bootstrapped()
        elif why == OLDER and not self._incarnations.own.recovering:
            if self._incarnations.can_name(number) and self._named_from.get(by) != number:
                self._named_from[by] = number
            else:
                self._named_from.clear()
                self.on_older(number)
