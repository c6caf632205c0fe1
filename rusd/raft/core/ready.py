"""`Ready`: what one step of the core asks its driver to do, and in which order it is safe.

The order of the fields is the order of the work:

    appends, messages      send: they assert nothing about this member's disk
    flush                  a follower flushes and sends `after_flush` here, before it applies
    reads, answers         call back
    entries                apply, then `Core.applied`
    flush                  a leader, a candidate and a member alone flush here
    after_flush            send
    events                 in the order of their fields

A leader's own apply and fdatasync thus overlap its followers' work, and a follower's reply, for
which the leader waits, does not wait for its apply. Which messages may leave before the flush is
decided by type: `SendNow` and `SendAfterFlush` have no member in common, so mypy refuses a vote
that is put into `messages`.

A leader counts its own entries as stored when it counts commits. That is safe because a step counts
commits before it appends what was proposed, and because no step begins before the flush of the one
before it has ended: an acknowledgement of an entry is read in a later step than the one that
appended it, hence when the entry is durable here.
"""

from collections.abc import Callable, Collection, Sequence

import msgspec

from rusd.raft.ports import Entry, Membership, Role
from rusd.raft.transport.frames import (
    AppendEntries,
    AppendReply,
    HigherTerm,
    PreVote,
    PreVoteReply,
    Propose,
    ReadIndexReply,
    ReadIndexRequest,
    ReadRound,
    ReadRoundReply,
    RequestVote,
    Snapshot,
    SnapshotReply,
    SnapshotRequest,
    TimeoutNow,
    VoteGranted,
)

#: Assert nothing about this member's disk: heartbeats and questions (of PreVote, read index), their
#: answers, forwarded proposals, and the request to a member to campaign.
SendNow = (
    AppendEntries
    | PreVote
    | PreVoteReply
    | Propose
    | ReadRound
    | ReadRoundReply
    | ReadIndexRequest
    | ReadIndexReply
    | TimeoutNow
)
#: Assert what must be durable first: an acknowledgement that the entries are on this disk; a vote,
#: for another or (`RequestVote`) for this member itself, that it is never given twice in a term;
#: the others a term that this member never goes back from. (A `SnapshotReply` of a step refuses.)
SendAfterFlush = (
    AppendReply | RequestVote | VoteGranted | HigherTerm | SnapshotRequest | SnapshotReply
)

#: A callback and what it is called with: a result, None or an exception.
Answer = tuple[Callable[[object], None], object]


class MembershipChange(msgspec.Struct, frozen=True, gc=False):
    """A changed membership."""

    #: As the state machine has it.
    applied: Membership
    #: As this member acts by it: with the members that only others know of yet.
    effective: Membership


class Events(msgspec.Struct, frozen=True, kw_only=True):
    """Rare results of a step, handled at its end."""

    #: This member has caught up and leaves quarantine: with the flush its vote is bound to the
    #: leader of the term, so after it, not before, that may be recorded.
    recovered: bool
    #: Another membership is in force. After the messages, which may include the last ones to
    #: members that are gone.
    membership: MembershipChange | None
    #: This member led until this step: streams of snapshots to others are over.
    leadership_lost: bool
    #: Members that need a snapshot: what they need is not in the log any more.
    snapshots: Collection[int]
    #: Frames of the snapshot that the leader sends this member, in order.
    snapshot: Sequence[tuple[int, Snapshot]]
    #: Members that sent what no member sends, and why: their connections are to be closed.
    broken: Sequence[tuple[int, str]]
    #: Leader or term changed. Announced after the flush that makes the term durable.
    role: Role | None


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """The work of one step."""

    #: Entries for followers. They leave before the leader's own flush, which overlaps theirs. A
    #: driver may drop them for a peer that does not read: its next rejection brings them again.
    appends: Sequence[tuple[int, AppendEntries]]
    #: All else that may leave at once.
    messages: Sequence[tuple[int, SendNow]]
    #: Term, vote or entries in the log wait for a flush.
    flush: bool
    #: The flush comes before `entries` are applied, since the leader waits for the reply. False on
    #: a leader, whose followers work meanwhile.
    flush_first: bool
    #: Must not leave before the flush: they assert what it makes durable.
    after_flush: Sequence[tuple[int, SendAfterFlush]]
    #: Linearizable reads that may be served now: their read index was confirmed by a quorum and is
    #: applied here. They depend on no flush.
    reads: Sequence[Answer]
    #: Calls that failed (a deadline passed, or leadership was not transferred).
    answers: Sequence[Answer]
    #: Committed entries to apply, all or the first ones. They may be unflushed here: a quorum of
    #: others holds them, and the state machine's own write holds them after a crash.
    entries: Sequence[Entry]
    #: None in most steps.
    events: Events | None
    #: When to step at the latest to announce a commit index; None if no announcement is due.
    deadline: float | None
