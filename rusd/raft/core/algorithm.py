"""Port of the Raft algorithm; `syncobj.py` implements it with PySyncObj.

One member's term, vote, log and counting of votes and commits; no clock (`now` is set by the
caller), no network (messages are taken from `take_messages`), no disk (`log` is flushed by the
driver). When to campaign, linearizable reads, forwarding and snapshots are not its business.
"""

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple, Protocol

from rusd.raft.ports import Log, LogEntry, Membership, Position, RaftState
from rusd.raft.transport.frames import (
    AppendEntries,
    AppendReply,
    RaftFrame,
    RequestVote,
    VoteGranted,
)


class BrokenMessage(Exception):
    """A message that violates the protocol: its connection must be closed."""


class Sent(NamedTuple):
    """Messages to be sent."""

    appends: Sequence[tuple[int, AppendEntries]]
    #: To be sent after the flush.
    replies: Sequence[tuple[int, AppendReply | RequestVote | VoteGranted]]
    #: Members whose next entry is no longer in the log.
    snapshots: Collection[int]


class Algorithm(RaftState, Protocol):
    """One member's Raft state."""

    #: Seconds of the member's clock; every timeout is measured by it.
    now: float
    #: This member's leader asked it to campaign (`TimeoutNow`): its vote requests say so.
    transferring: bool
    #: Whether this member may be made leader by its leader (`Campaign.may`).
    may_campaign: Callable[[], bool]

    @property
    def log(self) -> Log:
        """The log, term and vote."""

    @property
    def peers(self) -> Collection[int]:
        """All other members, voters and learners."""

    @property
    def connected_peers(self) -> Collection[int]:
        """Those with a connection."""

    @property
    def votes(self) -> bool:
        """Whether this member is a voter."""

    @property
    def has_messages(self) -> bool:
        """Whether `take_messages` would return any."""

    # Messages

    def receive(self, member: int, message: RaftFrame) -> bool:
        """Handle a message; returns False if it was ignored. Raises BrokenMessage."""

    def take_messages(self) -> Sent:
        """Return and clear the messages to be sent."""

    def connected(self, member: int) -> None:
        """Reset the progress of a member with a new connection; earlier acknowledgements do not
        count.
        """

    def disconnected(self, member: int) -> None:
        """Record that a member's connection ended."""

    def heard_from(self, member: int) -> None:
        """Count a follower as active for CheckQuorum without a reply of its own."""

    def learn_term(self, member: int, term: int) -> None:
        """Follow a higher term without granting a vote."""

    def voted_for(self, member: int) -> bool:
        """Return whether this member voted for another one in the current term."""

    def repeats_vote(self, member: int, term: int) -> bool:
        """Return whether this member voted for another one in `term` and the grant may be lost."""

    # Moving on

    def heartbeat_due(self, now: float) -> bool:
        """Return whether a leader's `tick` would send heartbeats."""

    def tick(self) -> None:
        """Count commits; a leader sends heartbeats, or steps down without a quorum."""

    def campaign(self) -> None:
        """Become a candidate, or the leader if no other vote is needed."""

    def propose(self, command: bytes) -> int:
        """Append a command to the leader's log; returns its index."""

    def send_appends(self) -> None:
        """Send followers what they lack, or the commit index alone."""

    def send_append(self, member: int) -> None:
        """Send one follower what it lacks."""

    def next_entries(self) -> Sequence[LogEntry]:
        """Returns committed entries to apply next, not too many."""

    def applied(self, index: int) -> None:
        """Record that the state machine has applied everything up to `index`."""

    def installed(self, last: Position) -> None:
        """Continue after a snapshot that ends at `last` replaced state machine and log."""

    # What changes from outside

    def reconfigure(self, membership: Membership) -> None:
        """Use this membership from now on. A leader that is no longer a voter steps down."""

    def step_down(self) -> None:
        """Step down as leader."""

    def forget_leader(self) -> None:
        """Follow no leader until one is heard."""

    def vote_for_leader(self) -> None:
        """Vote for the known leader in the current term, in place of any earlier vote."""

    def match_index(self, member: int) -> int:
        """Returns the highest index known to be durable on another member (leader only); 0 if the
        member is unknown.
        """

    def next_index(self, member: int) -> int:
        """Return the index of the next entry to be sent to another member (leader only)."""

    def raise_commit(self, index: int) -> None:
        """Raise the commit index to `index`."""
