"""PySyncObj's SyncObj as a Raft core without I/O, threads or pickle.

`RaftCore` is a SyncObj whose transport, journal, poller, log compaction and apply loop are ours:
messages go in through `Link.deliver`, messages to send are collected in `Link.outbox`, `tick` moves
it on. Deadlines of its own are pushed out of reach; `election.py` decides when it campaigns.

The override of a private method works because Python mangles `self.__name` in SyncObj to
`self._SyncObj__name`; `check_names` refuses to start if a release renames one of them, since the
override would otherwise silently become dead code and the stock behaviour (which loses acknowledged
writes) would be back.
"""

from collections.abc import Callable, Iterable

import pysyncobj.syncobj
from pysyncobj import SyncObj, SyncObjConf
from pysyncobj.node import Node
from pysyncobj.transport import Transport

from rusd.raft.core.messages import Message
from rusd.raft.log.journal import Journal, JournalError, LogEntry
from rusd.raft.ports import Membership, Position

#: First byte of a command (PySyncObj's command types; others are never accepted).
REGULAR = b"\x00"
NO_OP = b"\x01"
#: Stands in the log for an entry that only a snapshot holds. It has the index and term of that
#: entry, so logs can be compared at it, and not its command: it must never be sent.
STAND_IN = NO_OP + b"snapshot"

#: Committed entries applied in one turn: more would hold up heartbeats. Half a MiB is some ten
#: thousand of the smallest requests; a single entry may be larger.
APPLY_ENTRIES = 64
APPLY_BYTES = 512 << 10

_OUT_OF_REACH = 1e8

_PRIVATE = (
    "_SyncObj__applyLogEntries",
    "_SyncObj__sendAppendEntries",
    "_SyncObj__tryLogCompaction",
    "_SyncObj__setState",
    "_SyncObj__onMessageReceived",
    "_SyncObj__onLeaderChanged",
    "_SyncObj__setCurrentTerm",
)
_PRIVATE_FIELDS = (
    "_SyncObj__raftLastApplied",
    "_SyncObj__raftCommitIndex",
    "_SyncObj__raftElectionDeadline",
    "_SyncObj__raftState",
    "_SyncObj__raftLeader",
    "_SyncObj__raftMatchIndex",
    "_SyncObj__raftNextIndex",
    "_SyncObj__lastResponseTime",
    "_SyncObj__raftLog",
    "_SyncObj__serializer",
    "_SyncObj__otherNodes",
    "_SyncObj__readonlyNodes",
    "_SyncObj__connectedNodes",
    "_poller",
)


def node_id(member: int) -> str:
    """A member id as PySyncObj's node id (it concatenates ids with text)."""
    return f"{member:x}"


class Peer(Node):  # type: ignore[misc]
    """Another member, as PySyncObj knows it."""

    def __init__(self, member: int) -> None:
        super().__init__(node_id(member))
        self.member = member

    def __hash__(self) -> int:
        # The order of a set of peers, in which messages are sent, is then the same in every run.
        return self.member


class Link(Transport):  # type: ignore[misc]
    """PySyncObj's transport as two lists: nothing is sent from here."""

    def __init__(self) -> None:
        super().__init__(None, None, [])
        #: (member id, message) in the order PySyncObj sent them.
        self.outbox: list[tuple[int, Message]] = []
        #: Completes a message the moment it is sent: at the turn's end term and log may be others.
        self.complete: Callable[[Message], None] | None = None
        self._connected: set[int] = set()

    @property
    def ready(self) -> bool:
        return True

    def send(self, node: Peer, message: Message) -> bool:
        if node.member not in self._connected:
            return False
        if self.complete is not None:
            self.complete(message)
        self.outbox.append((node.member, message))
        return True

    def addNode(self, node: Peer) -> None:
        """Membership is the node's business (`RaftCore.reconfigure`)."""

    def dropNode(self, node: Peer) -> None:
        """See `addNode`."""

    def destroy(self) -> None:
        """Nothing is held."""

    def connected(self, peer: Peer) -> None:
        self._connected.add(peer.member)
        self._onNodeConnected(peer)

    def disconnected(self, peer: Peer) -> None:
        self._connected.discard(peer.member)
        self._onNodeDisconnected(peer)

    def is_connected(self, member: int) -> bool:
        return member in self._connected

    def deliver(self, peer: Peer, message: Message) -> None:
        """Hand a received (and filtered) message to PySyncObj."""
        self._onMessageReceived(peer, message)


class _NoPoller:
    def poll(self, timeout: float) -> None:
        """All waiting is done by the loop that drives the core."""


class _NoSerializer:
    """PySyncObj's own snapshots are off: a member that needs one is only noted."""

    def __init__(self) -> None:
        self.wanted: set[int] = set()

    def getTransmissionData(self, node: Peer) -> tuple[bytes, bool, bool]:
        # "The last chunk", so that the send loop leaves its snapshot branch at once.
        self.wanted.add(node.member)
        return b"", True, True

    def cancelTransmisstion(self, node: Peer) -> None:
        self.wanted.discard(node.member)


#: Applies committed entries; returns how many of them are applied. 0: it is called again with the
#: same ones, to go on.
Apply = Callable[[list[LogEntry]], int]


class RaftCore(SyncObj):  # type: ignore[misc]
    """One member's Raft state; driven from one thread."""

    def __init__(
        self,
        member: int,
        others: Iterable[int],
        journal: Journal,
        applied: tuple[Position, Position],
        apply: Apply,
        *,
        heartbeat: float,
        quorum_timeout: float,
    ) -> None:
        """`others`: the other voters. `applied`: what the state machine holds (last, the one
        before). `heartbeat`: seconds
        between a leader's messages; `quorum_timeout`: seconds without answers of a quorum after
        which a leader steps down (CheckQuorum)."""
        check_names(type(self))
        self._apply = apply
        #: Committed entries that are being applied.
        self._group: list[LogEntry] = []
        self._applies = True
        self.link = Link()
        self.log = journal
        self.member = member
        #: Everybody else, voters and learners.
        self.peers: dict[int, Peer] = {}
        self.membership = Membership(frozenset({member}))
        seat(journal, *applied)
        conf = SyncObjConf(
            autoTick=False,
            raftMinTimeout=_OUT_OF_REACH,
            raftMaxTimeout=2 * _OUT_OF_REACH,
            connectionTimeout=3 * _OUT_OF_REACH,
            appendEntriesPeriod=heartbeat,
            leaderFallbackTimeout=quorum_timeout,
            appendEntriesUseBatch=True,
            appendEntriesBatchSizeBytes=1 << 30,
            dynamicMembershipChange=False,
            journalFile=journal,
            fullDumpFile=None,
            useFork=False,
        )
        stock = pysyncobj.syncobj.createJournal
        pysyncobj.syncobj.createJournal = lambda given: given
        try:
            super().__init__(Peer(member), [], conf=conf, transport=self.link)
        finally:
            pysyncobj.syncobj.createJournal = stock
        missing = [name for name in _PRIVATE_FIELDS if not hasattr(self, name)]
        if missing:
            raise RuntimeError(f"this PySyncObj lacks {missing}; rusd needs 0.3.17")
        self._poller = _NoPoller()
        self._snapshots = _NoSerializer()
        self._SyncObj__serializer = self._snapshots
        self._SyncObj__raftLastApplied = self._SyncObj__raftCommitIndex = applied[0].index
        journal.setRaftCommitIndex(applied[0].index)
        self.reconfigure(Membership(frozenset({member, *others})))

    # Membership

    def reconfigure(self, membership: Membership) -> None:
        """From now on this membership counts. A leader that is no voter any more stands down."""
        self.membership = membership
        present = (membership.voters | membership.learners) - {self.member}
        now = pysyncobj.syncobj.monotonicTime()
        following = self.log.last_index + 1
        for member in self.peers.keys() - present:
            peer = self.peers.pop(member)
            self.link.disconnected(peer)
            self._snapshots.wanted.discard(member)
            self._SyncObj__raftNextIndex.pop(peer, None)
            self._SyncObj__raftMatchIndex.pop(peer, None)
            self._SyncObj__lastResponseTime.pop(peer, None)
        for member in present - self.peers.keys():
            peer = self.peers[member] = Peer(member)
            self._SyncObj__raftNextIndex[peer] = following
            self._SyncObj__raftMatchIndex[peer] = 0
            self._SyncObj__lastResponseTime[peer] = now
        voters = {self.peers[member] for member in sorted(membership.voters & self.peers.keys())}
        self._SyncObj__otherNodes = voters
        self._SyncObj__readonlyNodes = set(self.peers.values()) - voters
        if self.is_leader and not self.votes:
            self.stand_down()

    @property
    def votes(self) -> bool:
        """Whether this member is a voter."""
        return self.member in self.membership.voters

    @property
    def voters(self) -> int:
        """Number of voters, this member included if it is one."""
        return len(self.membership.voters)

    def stand_down(self) -> None:
        """Lead no more."""
        self._SyncObj__setState(0)
        self._SyncObj__raftLeader = None

    def vote_for_leader(self) -> None:
        """In this term no vote for anybody but the leader."""
        self._SyncObj__setCurrentTerm(self.term, node_id(self.leader))

    def forget_match(self, member: int) -> None:
        """What a member acknowledged counts no more: it may have lost it."""
        self._SyncObj__raftMatchIndex[self.peers[member]] = 0

    def forget_leader(self) -> None:
        """Follow nobody, until somebody leads again."""
        self._SyncObj__raftLeader = None

    # State

    @property
    def term(self) -> int:
        return int(self.raftCurrentTerm)

    @property
    def is_leader(self) -> bool:
        return bool(self._isLeader())

    @property
    def leader(self) -> int:
        """Member id of the leader, 0 if none is known."""
        known = self._getLeader()
        return known.member if known is not None else 0

    @property
    def commit_index(self) -> int:
        return int(self.raftCommitIndex)

    @property
    def applied_index(self) -> int:
        return int(self.raftLastApplied)

    def match_index(self, member: int) -> int:
        """Highest entry known to be on another member's disk (leader only); 0 for a stranger."""
        peer = self.peers.get(member)
        return int(self._SyncObj__raftMatchIndex.get(peer, 0)) if peer is not None else 0

    def raise_commit(self, index: int) -> None:
        """Everything up to `index` is known to be committed."""
        self._SyncObj__raftCommitIndex = max(self.commit_index, index)
        self.log.setRaftCommitIndex(self.commit_index)

    # Moving on

    def tick(self, *, apply: bool = True) -> None:
        """Count commits, apply (unless the caller does so later), step down or send heartbeats as
        time demands."""
        self._applies = apply
        try:
            self.doTick(0.0)
        finally:
            self._applies = True

    def apply(self) -> None:
        """Apply what is committed, or the first part of it if it is much."""
        self._SyncObj__applyLogEntries()

    def campaign(self) -> None:
        """Become a candidate (the caller has made sure it may win). Who needs no other vote leads
        at once; what it commits is counted by the next `tick`, when it is durable."""
        committed = self.commit_index
        self._SyncObj__raftElectionDeadline = 0.0
        self.tick(apply=False)
        self._SyncObj__raftCommitIndex = committed
        self.log.setRaftCommitIndex(committed)
        # Whatever became of it: only this call, never PySyncObj's own timer, campaigns.
        self._SyncObj__raftElectionDeadline = float("inf")

    def propose(self, command: bytes) -> int:
        """Append a command to the leader's log; returns its index."""
        index = self.log.last_index + 1
        self.log.add(command, index, self.term)
        return index

    def send_appends(self) -> None:
        """Send followers what they lack, or the commit index alone."""
        self._SyncObj__sendAppendEntries()

    def heard_from(self, member: int) -> None:
        """A follower showed signs of life in another way than by an acknowledgement."""
        if self.is_leader:
            message = {"type": "next_node_idx", "reset": False, "success": False}
            self.link.deliver(self.peers[member], {**message, "next_node_idx": 1})

    def count_no_silence(self, seconds: float, now: float) -> None:
        """Excuse the others' silence (CheckQuorum) for `seconds` up to `now`, in which this member
        could not hear anybody."""
        heard = self._SyncObj__lastResponseTime
        for peer in heard:
            heard[peer] = min(heard[peer] + seconds, now)

    def learn_term(self, member: int, term: int) -> None:
        """Follow a higher term without granting a vote (the log check refuses term -1)."""
        vote = {"type": "request_vote", "term": term, "last_log_index": 0, "last_log_term": -1}
        self.link.deliver(self.peers[member], vote)

    def wants_snapshot(self) -> set[int]:
        """Members whose next entry is no longer in the log; forgotten once asked."""
        wanted, self._snapshots.wanted = self._snapshots.wanted, set()
        return wanted

    def installed(self, last: Position, before: Position) -> None:
        """The state machine was replaced by a snapshot: the log continues from there."""
        seat(self.log, last, before)
        self._group = []
        self._SyncObj__raftLastApplied = self._SyncObj__raftCommitIndex = last.index
        self.log.setRaftCommitIndex(last.index)

    # Overrides of PySyncObj

    def _SyncObj__applyLogEntries(self) -> bool:
        """Apply committed entries as one group. An exception ends the process: hazard 11."""
        if not self._applies:
            return False
        group = self._group = self._group or self._following()
        if group and (count := self._apply(group)):
            self._SyncObj__raftLastApplied = group[count - 1][1]
            self._group = []
        return False

    def _following(self) -> list[LogEntry]:
        """Committed entries that come next, not too many."""
        first = self._SyncObj__raftLastApplied + 1
        last = min(self._SyncObj__raftCommitIndex, first + APPLY_ENTRIES - 1)
        if last < first:
            return []
        entries = list(self.log.entries(first, last + 1))
        size = 0
        for count, (command, _, _) in enumerate(entries, 1):
            size += len(command)
            if size > APPLY_BYTES:
                del entries[count:]
                break
        if not entries or entries[0][1] != first:
            raise RuntimeError(f"committed entry {first} is not in the log")
        return entries

    def _SyncObj__sendAppendEntries(self) -> None:
        """Send appends; a member whose next entry this log only has a stand-in for gets a snapshot,
        as one does whose next entry lies before the log."""
        unknown = self._stand_in()
        if unknown:
            following = self._SyncObj__raftNextIndex
            for peer in [peer for peer, index in following.items() if index == unknown]:
                following[peer] = self.log.first_index
        super()._SyncObj__sendAppendEntries()

    def _stand_in(self) -> int:
        """Index of the second entry of the log if it is a stand-in, else 0. (The first entry is
        never sent. Earlier releases wrote two NO_OPs for stand-ins, of entries that their state
        held; at index 2 one is real.)"""
        head = self.log.entries(0, self.log.first_index + 2)
        if len(head) < 2:
            return 0
        (first, index, _), (second, following, _) = head
        held = index > 1 and following <= self.applied_index
        if second == STAND_IN or (first == second == NO_OP and held):
            return following
        return 0

    def _SyncObj__tryLogCompaction(self) -> None:
        """Off: the node compacts the log itself, with a margin and a durable state."""


def check_names(kind: type) -> None:
    """Raise unless PySyncObj still has the private methods that are used or overridden."""
    missing = [name for name in _PRIVATE if not hasattr(SyncObj, name)]
    if missing:
        raise RuntimeError(f"this PySyncObj lacks {missing}; rusd needs 0.3.17")


def seat(journal: Journal, last: Position, before: Position) -> None:
    """Make the log continue from the applied state (reference: restart by applied index).

    A log that reaches the state's position with the same term keeps its tail; any other is older
    than the state (which a quorum committed) and is replaced by the state's last two positions.
    """
    if journal.term_at(last.index) == last.term or (last.index == 1 and not len(journal)):
        return
    if not len(journal) and not journal.getCurrentTerm():
        # (Without entries but with a term it is a write of `seat` that a crash tore.)
        raise JournalError(
            f"{journal.directory} holds no log, but the state beside it ends at entry "
            f"{last.index}: the log, with this member's votes, was lost"
        )
    if journal.first_index > last.index:
        raise JournalError(
            f"the log in {journal.directory} begins at entry {journal.first_index}, the state ends "
            f"at {last.index}: applied state was lost"
        )
    journal.seat((STAND_IN, *before), (STAND_IN, *last))
