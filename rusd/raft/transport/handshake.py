"""What a hello means: whether the process that sent it may stand for the member it names.

    hello {protocol, cluster, member, nonce, life, term, index, joining}
    refused {reason, why, number}      instead of a hello, or right behind it; then the end

That it comes from the member's address is found out before (`belonging.py`), so of two processes of
a member only one at its own peer URLs gets in. `life` (`lives.py`) says which data directory that
one runs on, and in which of its starts; `term` and `index` how far its journal is. A hello without
them is of an earlier release and taken as it is. `why` a life is refused, with `number` the last
one that is known of the member:

    bootstrapped   a member that is known, on a directory where nothing is: its disk was lost
    older          a directory that holds less than the member has said: a copy, or another one

A member refused as `bootstrapped` ends. As `older` it goes into quarantine: it takes no part in a
quorum until it has caught up (`quarantine.py`), and says so in its next hello, which is accepted.

What nobody remembers cannot be noticed. A member that lost its disk, among others that never met
it, is a new one to them.
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
    """One member's hellos, and its judgement of those of others."""

    def __init__(
        self,
        member: int,
        cluster: int,
        incarnations: Incarnations,
        *,
        mark: Callable[[], Mark],
        joining: Callable[[], bool],
    ) -> None:
        """`mark`: how far this member's journal is. `joining`: its state is still to come."""
        self._member = member
        self._cluster = cluster
        self._incarnations = incarnations
        self._mark = mark
        self._joining = joining
        #: Members that were published: they hold something.
        self.started: Collection[int] = ()
        #: What a member is known to have acknowledged to this leader.
        self.acknowledged: Callable[[int], Mark] = lambda member: Mark()
        #: This member's disk was lost, and others know it.
        self.on_bootstrapped: Callable[[], None] = lambda: None
        #: This member must catch up, behind lives up to this number.
        self.on_older: Callable[[int], None] = lambda number: None

    def hello(self) -> Hello:
        """OSError: this member's life is not durable, nothing may be said."""
        mark = self._mark()
        return Hello(
            protocol=PROTOCOL,
            cluster=self._cluster,
            member=self._member,
            incarnation=self._incarnations.said(),
            term=mark.term,
            index=mark.index,
            joining=self._joining(),
        )

    def incarnations(self) -> dict[int, int]:
        """Member id -> number of its last known incarnation."""
        return {member: met.life.number for member, met in self._incarnations.met.items()}

    # Hellos of others

    def receive(self, hello: Hello) -> HelloRefused | None:
        """Check a hello whose member and cluster are right. Returns None if it may stand for the
        member, which is recorded; else the frame that refuses it."""
        life = hello.incarnation
        if life is UNSET:
            return None
        member = hello.member
        why = self._judge(member, life, Mark(hello.term, hello.index), hello.joining)
        if why is None:
            try:
                self._incarnations.meet(member, life)
            except OSError as error:
                # (On a full disk: it may have room again when the other side dials again.)
                return HelloRefused(f"cannot record the member's incarnation: {error.strerror}")
            return None
        known = self._incarnations.met.get(member)
        number = known.life.number if known is not None else 0
        return HelloRefused(_REASONS[why], why, number)

    def _judge(self, member: int, life: Incarnation, mark: Mark, joining: bool) -> Reason | None:
        known = self._incarnations.met.get(member)
        empty = mark.index <= 1
        lost: Reason = BOOTSTRAPPED if empty and not joining else OLDER
        if life.recovering:
            return None
        if known is None:
            return lost if empty and member in self.started else None
        if known.life.directory != life.directory:
            replaces = life.replaces >= known.life.number
            joins = joining and member not in self.started
            return None if replaces or joins else lost
        if not life.follows(known.life):
            return OLDER
        acknowledged = max(known.acknowledged, self.acknowledged(member))
        return OLDER if mark < acknowledged else None

    def lost(self, member: int) -> None:
        """A member's connection ended: what it acknowledged over it is known best now."""
        try:
            self._incarnations.acknowledged(member, self.acknowledged(member))
        except OSError as error:
            fields = {"peer": f"{member:x}", "error": str(error)}
            log.warning("what a member acknowledged is not durable", extra={"fields": fields})

    # What others say to this one's

    def refused(self, refusal: HelloRefused) -> None:
        """Another member refused this one's hello."""
        why = refusal.why
        if why == BOOTSTRAPPED and self._mark().index <= 1 and not self._joining():
            self.on_bootstrapped()
        elif why == OLDER and not self._incarnations.own.recovering:
            self.on_older(refusal.number)
