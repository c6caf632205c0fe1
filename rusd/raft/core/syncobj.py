"""PySyncObj's SyncObj as a Raft algorithm without I/O, clock, threads or pickle.

`PySyncObjRaft` is a SyncObj whose transport, log, clock, poller, log compaction and apply loop are
replaced: messages come in through `receive` and its filters, messages to send are collected in
`Link.outbox`, `tick` moves it on. Deadlines of its own are pushed out of reach; `election.py`
decides when it campaigns.

The override of a private method works because Python mangles `self.__name` in SyncObj to
`self._SyncObj__name`; `check_names` refuses to start if a release renames one of them, since the
override would otherwise silently become dead code and the stock behaviour (which loses acknowledged
writes) would be back.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from operator import attrgetter
from typing import Any

import pysyncobj.syncobj
from pysyncobj import SyncObj, SyncObjConf
from pysyncobj.node import Node
from pysyncobj.transport import Transport

from rusd.raft.commands import NO_OP, STAND_IN
from rusd.raft.core.algorithm import Sent
from rusd.raft.core.filters import Filters
from rusd.raft.core.messages import Message, appends_of, message_of, reply_of
from rusd.raft.ports import Log, LogEntry, Membership, Position
from rusd.raft.transport.frames import AppendEntries, RaftFrame

#: Committed entries applied in one turn: more would hold up heartbeats. Half a MiB is some ten
#: thousand of the smallest requests; a single entry may be larger.
APPLY_ENTRIES = 64
APPLY_BYTES = 512 << 10
#: Bytes of entries sent to one member in one step; what is left follows with the next ones. A slice
#: of the log (`log/journal.py`) may exceed it once.
SEND_BYTES = 8 << 20
#: Seconds between two looks of a leader that received and appended nothing meanwhile: whether a
#: quorum still replies (CheckQuorum).
QUIET = 0.01

_OUT_OF_REACH = 1e8

#: PySyncObj's state of a leader.
_LEADER = 2

_PRIVATE = (
    "_SyncObj__applyLogEntries",
    "_SyncObj__sendAppendEntries",
    "_SyncObj__tryLogCompaction",
    "_SyncObj__getCurrentLogIndex",
    "_SyncObj__getEntries",
    "_SyncObj__getPrevLogIndexTerm",
    "_SyncObj__setState",
    "_SyncObj__onMessageReceived",
    "_SyncObj__onLeaderChanged",
    "_SyncObj__setCurrentTerm",
    "_checkCommandsToApply",
    "_onTick",
)
_PRIVATE_FIELDS = (
    "_SyncObj__raftLastApplied",
    "_SyncObj__raftCommitIndex",
    "_SyncObj__raftElectionDeadline",
    "_SyncObj__raftState",
    "_SyncObj__raftCurrentTerm",
    "_SyncObj__raftLeader",
    "_SyncObj__raftMatchIndex",
    "_SyncObj__raftNextIndex",
    "_SyncObj__lastResponseTime",
    "_SyncObj__newAppendEntriesTime",
    "_SyncObj__raftLog",
    "_SyncObj__serializer",
    "_SyncObj__otherNodes",
    "_SyncObj__readonlyNodes",
    "_SyncObj__connectedNodes",
    "_poller",
)


def node_id(member: int) -> str:
    """Convert a member id to PySyncObj's node id (it concatenates ids with text)."""
    return f"{member:x}"


class Peer(int, Node):  # type: ignore[misc]
    """Another member, as PySyncObj knows it: a key of its dicts and sets.

    Also its member id: comparing and hashing are then not calls of Python code, and the order of a
    set of peers, in which messages are sent, is the same in every run.
    """

    def __init__(self, member: int) -> None:
        Node.__init__(self, node_id(member))
        self.member = member


#: Time of the running member for PySyncObj, which reads a global function.
_now = [0.0]
pysyncobj.syncobj.monotonicTime = partial(_now.__getitem__, 0)


def _state(name: str) -> Any:
    """Returns a property that reads a private field of PySyncObj, without a call of Python code:
    a step reads some fifty.
    """
    return property(attrgetter("_SyncObj__" + name))


class Link(Transport):  # type: ignore[misc]
    """PySyncObj's transport as two lists, without I/O."""

    def __init__(self) -> None:
        super().__init__(None, None, [])
        #: (member id, message) in the order PySyncObj sent them.
        self.outbox: list[tuple[int, Message]] = []
        #: Called with each message the moment it is sent: at the step's end term and log may be
        #: others.
        self.on_send: Callable[[int, Message], None] = lambda member, message: None
        #: Members with a connection.
        self.peers: set[int] = set()

    @property
    def ready(self) -> bool:
        return True

    def send(self, node: Peer, message: Message) -> bool:
        if node.member not in self.peers:
            return False
        self.on_send(node.member, message)
        self.outbox.append((node.member, message))
        return True

    def addNode(self, node: Peer) -> None:
        """Does nothing: `PySyncObjRaft.reconfigure` sets the membership."""

    def dropNode(self, node: Peer) -> None:
        """Does nothing; see `addNode`."""

    def destroy(self) -> None:
        """Does nothing: there are no resources."""

    def connected(self, peer: Peer) -> None:
        self.peers.add(peer.member)
        self._onNodeConnected(peer)

    def disconnected(self, peer: Peer) -> None:
        self.peers.discard(peer.member)
        self._onNodeDisconnected(peer)


class _NoPoller:
    def poll(self, timeout: float) -> None:
        """Does nothing: the loop that drives the core waits."""


class _NoSerializer:
    """Disables PySyncObj's own snapshots; records the members that need one."""

    def __init__(self) -> None:
        self.wanted: set[int] = set()

    def getTransmissionData(self, node: Peer) -> tuple[bytes, bool, bool]:
        # "The last chunk", so that the send loop leaves its snapshot branch at once.
        self.wanted.add(node.member)
        return b"", True, True

    def cancelTransmisstion(self, node: Peer) -> None:
        self.wanted.discard(node.member)


class PySyncObjRaft(SyncObj):  # type: ignore[misc]
    """One member's Raft state (`Algorithm`); driven from one thread."""

    _SyncObj__newAppendEntriesTime: float

    #: The current term.
    term: int = _state("raftCurrentTerm")
    #: Highest index known to be committed.
    commit_index: int = _state("raftCommitIndex")
    #: Highest index the state machine has applied.
    applied_index: int = _state("raftLastApplied")

    def __init__(
        self,
        member: int,
        others: Iterable[int],
        log: Log,
        applied: Position,
        *,
        heartbeat: float,
        quorum_timeout: float,
        now: float = 0.0,
    ) -> None:
        """`others`: the other voters. `log`: continues the state machine's, which ends at `applied`
        (`log/reconcile.py`). `heartbeat`: seconds between a leader's messages; `quorum_timeout`:
        seconds without replies of a quorum after which a leader steps down (CheckQuorum).
        """
        check_names(type(self))
        self.now = now
        #: Whether this member leads the current term.
        self.is_leader = False
        self.link = Link()
        self.link.on_send = self._complete
        self.log = log
        self.member = member
        #: All other members, voters and learners.
        self.peers: dict[int, Peer] = {}
        self.membership = Membership(frozenset({member}))
        self.transferring = False
        self.may_campaign: Callable[[], bool] = lambda: True
        self.filters = Filters(self)
        #: Bytes of entries sent to each member since `send_appends` began, and members that were
        #: sent enough.
        self._sent_bytes: dict[int, int] = {}
        self._sent_enough: list[Peer] = []
        #: Whether a leader's next tick may find something committed.
        self._changed = True
        self._quiet_until = 0.0
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
            journalFile=log,
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
        self._SyncObj__raftLastApplied = self._SyncObj__raftCommitIndex = applied.index
        log.setRaftCommitIndex(applied.index)
        self.reconfigure(Membership(frozenset({member, *others})))

    @property
    def now(self) -> float:
        """Seconds, as the caller set them."""
        return self._now

    @now.setter
    def now(self, now: float) -> None:
        self._now = _now[0] = now

    # Messages

    def receive(self, member: int, message: RaftFrame) -> bool:
        """Handle a message; returns False if it was ignored. Raises BrokenMessage."""
        return self.receive_message(member, message_of(message))

    def receive_message(self, member: int, message: Message) -> bool:
        """Handle a message in PySyncObj's form, as `receive`."""
        seen = self.filters.incoming(member, message)
        if seen is None:
            return False
        self._changed = True
        self._SyncObj__onMessageReceived(self.peers[member], seen)
        self.log.shield = False
        return True

    def take_messages(self) -> Sent:
        """Return and clear the messages to be sent. The same append to several members is one
        object.
        """
        outbox, self.link.outbox = self.link.outbox, []
        appends: list[tuple[int, AppendEntries]] = []
        replies = []
        made: dict[tuple[int, ...], list[AppendEntries]] = {}
        for member, message in outbox:
            if message["type"] != "append_entries":
                replies.append((member, reply_of(message)))
            elif "serialized" in message:
                # It needs a snapshot; a heartbeat keeps its election timer still.
                appends.append((member, AppendEntries(message["term"], 0)))
            else:
                entries = message["entries"]
                key = (
                    message["term"],
                    message["commit_index"],
                    message["prevLogIdx"],
                    len(entries),
                    message["attempt"],
                )
                frames = made.get(key)
                if frames is None:
                    frames = made[key] = appends_of(message)
                for frame in frames:
                    appends.append((member, frame))
        wanted, self._snapshots.wanted = self._snapshots.wanted, set()
        return Sent(appends, replies, wanted)

    @property
    def has_messages(self) -> bool:
        """Whether `take_messages` would return any."""
        return bool(self.link.outbox)

    def _complete(self, member: int, message: Message) -> None:
        self.filters.complete(message)
        entries = message.get("entries")
        if entries:
            sent = self._sent_bytes.get(member, 0)
            for command, _, _ in entries:
                sent += len(command)
            self._sent_bytes[member] = sent
            if sent >= SEND_BYTES:
                # PySyncObj sends to a member as long as it is connected and lacks something.
                self._sent_enough.append(self.peers[member])
                self._SyncObj__connectedNodes.discard(self.peers[member])

    @property
    def connected_peers(self) -> Collection[int]:
        """Members with a connection."""
        return self.link.peers

    def connected(self, member: int) -> None:
        """Reset the progress of a member with a new connection: what it acknowledged before may
        have been on another disk.
        """
        self._SyncObj__raftMatchIndex[self.peers[member]] = 0
        self.link.connected(self.peers[member])

    def disconnected(self, member: int) -> None:
        """Record that a member's connection ended."""
        self.link.disconnected(self.peers[member])

    def voted_for(self, member: int) -> bool:
        """Return whether this member voted for another one in the current term."""
        return self.log.getVotedForNodeId() == node_id(member)

    def repeats_vote(self, member: int, term: int) -> bool:
        """Return whether this member voted for another one in `term` and the grant may be lost."""
        return term == self.term and self.voted_for(member) and not self.is_leader

    # Membership

    def reconfigure(self, membership: Membership) -> None:
        """Use this membership from now on. A leader that is no longer a voter steps down."""
        self.membership = membership
        self._changed = True
        present = (membership.voters | membership.learners) - {self.member}
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
            self._SyncObj__lastResponseTime[peer] = self.now
        voters = {self.peers[member] for member in sorted(membership.voters & self.peers.keys())}
        self._SyncObj__otherNodes = voters
        self._SyncObj__readonlyNodes = set(self.peers.values()) - voters
        if self.is_leader and not self.votes:
            self.step_down()

    @property
    def votes(self) -> bool:
        """Whether this member is a voter."""
        return self.member in self.membership.voters

    def step_down(self) -> None:
        """Step down as leader."""
        self._SyncObj__setState(0)
        self._SyncObj__raftLeader = None

    def vote_for_leader(self) -> None:
        """Vote for the known leader in the current term, in place of any earlier vote."""
        self._SyncObj__setCurrentTerm(self.term, node_id(self.leader))

    def forget_leader(self) -> None:
        """Follow no leader until one is heard."""
        self._SyncObj__raftLeader = None

    # State

    @property
    def leader(self) -> int:
        """Member id of the leader, 0 if none is known."""
        leader: Peer | None = self._SyncObj__raftLeader
        return leader.member if leader is not None else 0

    def match_index(self, member: int) -> int:
        """Highest index known to be durable on another member (leader only); 0 if it is unknown."""
        peer = self.peers.get(member)
        return int(self._SyncObj__raftMatchIndex.get(peer, 0)) if peer is not None else 0

    def next_index(self, member: int) -> int:
        """Index of the next entry to be sent to another member (leader only)."""
        index: int = self._SyncObj__raftNextIndex[self.peers[member]]
        return index

    def raise_commit(self, index: int) -> None:
        """Raise the commit index to `index`."""
        self._SyncObj__raftCommitIndex = max(self.commit_index, index)
        self.log.setRaftCommitIndex(self.commit_index)

    # Moving on

    def heartbeat_due(self, now: float) -> bool:
        """Return whether a leader's `tick` would send heartbeats."""
        return now > self._SyncObj__newAppendEntriesTime

    def tick(self) -> None:
        """Count commits; a leader sends heartbeats, or steps down without a quorum.

        PySyncObj's tick is skipped where it would find nothing to do.
        """
        now = self._now
        if self.is_leader:
            if not (self._changed or self.heartbeat_due(now) or now >= self._quiet_until):
                return
            self._changed = False
            self._quiet_until = now + QUIET
        elif now <= self._SyncObj__raftElectionDeadline:
            return
        self._onTick()

    def campaign(self) -> None:
        """Become a candidate, or the leader if no other vote is needed; what a leader then commits
        is counted by the next `tick`, when it is durable.
        """
        committed = self.commit_index
        self._changed = True
        self._SyncObj__raftElectionDeadline = float("-inf")
        self._onTick()
        self._SyncObj__raftCommitIndex = committed
        self.log.setRaftCommitIndex(committed)
        # Only this call, never PySyncObj's own timer, campaigns.
        self._SyncObj__raftElectionDeadline = float("inf")

    def propose(self, command: bytes) -> int:
        """Append a command to the leader's log; returns its index."""
        index: int = self.log.last_index + 1
        self.log.add(command, index, self.term)
        self._changed = True
        return index

    def send_appends(self) -> None:
        """Send followers what they lack, or the commit index alone."""
        self._SyncObj__sendAppendEntries()

    def send_append(self, member: int) -> None:
        """Send one follower what it lacks; the heartbeats of the others stay due as before."""
        peers = self._SyncObj__otherNodes, self._SyncObj__readonlyNodes
        due = self._SyncObj__newAppendEntriesTime
        self._SyncObj__otherNodes, self._SyncObj__readonlyNodes = {self.peers[member]}, set()
        try:
            self._SyncObj__sendAppendEntries()
        finally:
            self._SyncObj__otherNodes, self._SyncObj__readonlyNodes = peers
            self._SyncObj__newAppendEntriesTime = due

    def heard_from(self, member: int) -> None:
        """Count a follower as active for CheckQuorum without an acknowledgement."""
        if self.is_leader:
            message = {"type": "next_node_idx", "reset": False, "success": False}
            self._SyncObj__onMessageReceived(self.peers[member], {**message, "next_node_idx": 1})

    def learn_term(self, member: int, term: int) -> None:
        """Follow a higher term without granting a vote (the log check refuses term -1)."""
        vote = {"type": "request_vote", "term": term, "last_log_index": 0, "last_log_term": -1}
        self._SyncObj__onMessageReceived(self.peers[member], vote)

    def next_entries(self) -> Sequence[LogEntry]:
        """Returns committed entries to apply next, not too many."""
        first = self.applied_index + 1
        last = min(self.commit_index, first + APPLY_ENTRIES - 1)
        if last < first:
            return ()
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

    def applied(self, index: int) -> None:
        """Record that the state machine has applied everything up to `index`."""
        self._SyncObj__raftLastApplied = index

    def installed(self, last: Position) -> None:
        """Continue after a snapshot that ends at `last` replaced state machine and log."""
        self._SyncObj__raftLastApplied = self._SyncObj__raftCommitIndex = last.index
        self.log.setRaftCommitIndex(last.index)

    # Overrides of PySyncObj

    def _SyncObj__setState(self, state: int) -> None:
        """As PySyncObj's, through which alone its state changes."""
        if state != self._SyncObj__raftState:
            super()._SyncObj__setState(state)
            self.is_leader = state == _LEADER

    def _SyncObj__getCurrentLogIndex(self) -> int:
        """As PySyncObj's, which takes the log's last entry for it."""
        return self.log.last_index

    def _SyncObj__getEntries(
        self, first: int | None, count: int | None = None, size: int | None = None
    ) -> Sequence[LogEntry]:
        """As PySyncObj's, with bounds of the log's own in place of `size`."""
        if first is None:
            return []
        if count is None:
            return self.log.entries_from(first)
        return self.log.entries(first, first + count) if first >= self.log.first_index else []

    def _SyncObj__getPrevLogIndexTerm(self, following: int) -> tuple[int | None, int | None]:
        """As PySyncObj's."""
        term = self.log.term_at(following - 1)
        return (None, None) if term is None else (following - 1, term)

    def _SyncObj__applyLogEntries(self) -> bool:
        """Off: the driver applies what `next_entries` returns (hazard 11)."""
        return False

    def _SyncObj__sendAppendEntries(self) -> None:
        """Send appends; a member whose next entry this log only has a stand-in for gets a snapshot,
        as one does whose next entry lies before the log.
        """
        _now[0] = self._now
        following = self._SyncObj__raftNextIndex
        lowest = min(following.values(), default=0)
        if lowest <= self.log.first_index + 1 and (unknown := self._stand_in()):
            for peer in [peer for peer, index in following.items() if index == unknown]:
                following[peer] = self.log.first_index
        super()._SyncObj__sendAppendEntries()
        if self._sent_bytes:
            self._sent_bytes.clear()
            self._SyncObj__connectedNodes.update(self._sent_enough)
            self._sent_enough.clear()

    def _stand_in(self) -> int:
        """Index of the second entry of the log if it is a stand-in, else 0.

        The first entry is never sent. Earlier releases wrote two NO_OPs for stand-ins, of entries
        that their state held; at index 2 one is real.
        """
        head = self.log.entries(0, self.log.first_index + 2)
        if len(head) < 2:
            return 0
        (first, index, _), (second, following, _) = head
        held = index > 1 and following <= self.applied_index
        if second == STAND_IN or (first == second == NO_OP and held):
            return following
        return 0

    def _SyncObj__tryLogCompaction(self) -> None:
        """Off: `log/compaction.py` does it, with a margin and a durable state."""

    def _checkCommandsToApply(self) -> None:
        """Off: `propose` appends."""


def check_names(kind: type) -> None:
    """Raise unless PySyncObj still has the private methods that are used or overridden."""
    missing = [name for name in _PRIVATE if not hasattr(SyncObj, name)]
    if missing:
        raise RuntimeError(f"this PySyncObj lacks {missing}; rusd needs 0.3.17")
