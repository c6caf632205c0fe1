"""The parts of `RaftNode` that rooms above use, as small protocols.

A component names in its `Node` the ones it needs, and no more: its tests then need a double of just
these, and a reader sees what it can do to Raft.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from rusd.base.pending import Pending
from rusd.raft.node import PeerStatus
from rusd.raft.ports import LogEntry
from rusd.raft.statistics import Statistics
from rusd.raft.transport.requests import Handler


class Proposer(Protocol):
    """Replicates payloads."""

    def propose(self, payload: bytes) -> Pending[Any]:
        """Replicate `payload`; the result is the state machine's, once it is applied here."""


class ReadIndex(Protocol):
    """Confirms linearizable reads."""

    def read_index(self) -> Pending[None]:
        """Settle once everything acknowledged before this call is applied on this member."""


class Role(Protocol):
    """The ids of this member and of the leader."""

    @property
    def member_id(self) -> int:
        """This member's id."""

    @property
    def leader_id(self) -> int:
        """The leader's id; 0 if no leader is known."""

    @property
    def is_leader(self) -> bool:
        """Whether this member leads."""

    @property
    def is_learner(self) -> bool:
        """Whether this member is a learner."""


class Indexes(Protocol):
    """The positions in the log."""

    @property
    def term(self) -> int:
        """The current term."""

    @property
    def commit_index(self) -> int:
        """The last index known to be committed."""

    @property
    def applied_index(self) -> int:
        """The last index applied on this member."""


class CommittedEntries(Protocol):
    """The entries of the log that are applied on this member."""

    def committed(self, after: int, most: int, size: int) -> Sequence[LogEntry] | None:
        """Return applied entries behind index `after`: `most` of them, or as many as have `size`
        bytes, at most, but one if there is one. None if the log does not hold the first one any
        more.
        """


class Peers(Protocol):
    """The connections to other members."""

    def connected_since(self, member: int) -> float | None:
        """Loop time at which the connection to a member was made; None without one."""

    def peer_status(self) -> Mapping[int, PeerStatus]:
        """Status of every other member, as known to this one."""


class Features(Protocol):
    """Releases of the members."""

    def can_apply(self, features: int) -> bool:
        """Return whether the release of every member that this one has met applies the proposals of
        `features`.
        """


class Measured(Protocol):
    """Counts of the Raft node."""

    def statistics(self) -> Statistics:
        """Return this member's counts since its start."""


class PeerCalls(Protocol):
    """Requests between members outside of the log."""

    def serve(self, kind: str, handler: Handler) -> None:
        """Answer requests of this kind."""

    async def ask(self, member_id: int, kind: str, body: bytes, timeout: float) -> bytes:
        """Send a request to another member and return its answer."""


class LeadershipTransfer(Protocol):
    """Moves leadership."""

    async def transfer_leadership(self, target: int) -> None:
        """Make `target` the leader."""
