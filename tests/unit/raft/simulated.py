"""Raft cores in a simulated cluster, as the test scripts drive it: no clock, disk or socket moves
unless the script says so.

Each member is the `Core` of `rusd/raft/core`, with a real journal, a state machine that is a list,
and the work of its `Ready` done in the documented order. Everything that happens is a line:

    1 -> 2  append term=1 prev=2/1 commit=2 [3/1 "a"]     a message left member 1
    2 stores 3/1 "a", term 1, vote 1                        a flush: entries, term, vote
    1 applies 3/1 "a"                                       an entry is committed, and applied
    1 answers write "a": 1                                  a call was answered
    1 leads in term 1                                       leader or term changed

Entries are written as index/term.
"""

import json
import random
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rusd.raft.commands import decode_entry
from rusd.raft.config import RaftConfig
from rusd.raft.core.core import Core
from rusd.raft.core.ready import Ready
from rusd.raft.core.syncobj import PySyncObjRaft
from rusd.raft.log.journal import Journal
from rusd.raft.log.reconcile import reconcile
from rusd.raft.ports import CONF_CHANGE, Entry, LogEntry, Membership, Position, Role
from rusd.raft.transport.frames import (
    AppendEntries,
    AppendReply,
    Frame,
    HigherTerm,
    PreVote,
    PreVoteReply,
    Propose,
    ReadIndexReply,
    ReadIndexRequest,
    ReadRound,
    ReadRoundReply,
    RequestVote,
    SnapshotRequest,
    TimeoutNow,
    VoteGranted,
)

ELECTION = 1.0
HEARTBEAT = 0.1
FIRST = Position(1, 0)


class ScriptRefusal(Exception):
    """Raised when a script asks for something that is refused."""


class Machine:
    """The replicated state: payloads in order, the membership, the last two positions."""

    def __init__(self) -> None:
        self.payloads: list[str] = []
        self.membership: Membership | None = None
        self.positions = (FIRST, FIRST)

    def copy(self) -> "Machine":
        """A snapshot."""
        machine = Machine()
        machine.payloads = list(self.payloads)
        machine.membership, machine.positions = self.membership, self.positions
        return machine


class Member:
    """A process on a disk."""

    def __init__(self, cluster: "Cluster", member: int, config: RaftConfig) -> None:
        self.cluster = cluster
        self.id = member
        self.config = config
        #: Outlives the process.
        self.machine = Machine()
        self.inbox: list[tuple[int, Frame]] = []
        self.woken = False
        #: Flushes wait for the script; what must follow them is held here.
        self.slow_disk = False
        self.unflushed: list[tuple[int, Frame]] | None = None
        self.streams: set[int] = set()
        self.running = False

    def start(self) -> None:
        """Start the process on what the disk holds."""
        self.journal = Journal(self.config.directory / "wal", fsync=False)
        if reconcile(self.journal, *self.machine.positions):
            self.journal.settle()
        raft = PySyncObjRaft(
            self.id,
            self.config.membership.voters - {self.id},
            self.journal,
            self.machine.positions[0],
            heartbeat=HEARTBEAT,
            quorum_timeout=ELECTION,
            now=self.cluster.now,
        )
        self.core = Core(
            self.config,
            raft,
            self.machine.positions[0],
            now=self.cluster.now,
            chance=random.Random(self.id),
            first_number=lambda: self.id << 50,
            snapshot_streams=self.streams,
        )
        if self.machine.membership is not None:
            self.core.apply_membership(self.machine.membership)
        self.core.start(self.cluster.now)
        self.inbox, self.unflushed, self.running = [], None, True
        self.woken = True

    def stop(self) -> None:
        """The process ends; what was not flushed is gone."""
        self.running = False
        self.journal.close()

    @property
    def last(self) -> tuple[int, int]:
        """Index and term of the newest entry."""
        index = self.journal.last_index
        return index, self.journal.term_at(index) or 0

    def needs_step(self) -> bool:
        """Whether a step has work to do."""
        return self.unflushed is None and bool(self.inbox or self.woken or self.core.has_work)


class Cluster:
    """Members, their network, one clock, and what was said."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.now = 100.0
        self.members: dict[int, Member] = {}
        self.lines: list[str] = []
        #: Messages under way.
        self._network: deque[tuple[int, int, Frame]] = deque()
        #: (from, to) whose messages are lost.
        self.cut: set[tuple[int, int]] = set()
        #: (member that noticed, member that did not): connections that broke.
        self._half_open: set[tuple[int, int]] = set()

    # What scripts ask for

    def add(self, member: int, membership: Membership, *, joining: bool = False) -> Member:
        """Start a new member."""
        directory = self._directory / str(member)
        config = RaftConfig(
            member_id=member,
            cluster_id=7,
            peers=membership.urls,
            learners=membership.learners,
            directory=directory,
            listen_peer_urls=(),
            heartbeat_ms=int(HEARTBEAT * 1000),
            election_ms=int(ELECTION * 1000),
            joining=joining,
        )
        self.members[member] = Member(self, member, config)
        self.start(member)
        return self.members[member]

    def start(self, member: int) -> None:
        """Start a member's process and connect it."""
        one = self.members[member]
        one.start()
        for other in self.members.values():
            if other is not one and other.running:
                one.core.connected(other.id)
                other.core.connected(member)
                other.woken = True

    def stop(self, member: int) -> None:
        """End a member's process: the others notice."""
        self.members[member].stop()
        self._network = deque(one for one in self._network if member not in one[:2])
        for other in self.running():
            other.inbox = [one for one in other.inbox if one[0] != member]
            other.core.disconnected(member, self.now)
            other.woken = True

    def disconnect(self, member: int) -> None:
        """The other members notice that a member's connections broke; it does not, and what it
        sends is lost.
        """
        for other in self.running():
            if other.id != member:
                self.cut |= {(member, other.id), (other.id, member)}
                self._half_open.add((other.id, member))
                other.core.disconnected(member, self.now)
                other.woken = True

    def heal(self) -> None:
        """Nothing is lost any more; broken connections are made anew."""
        self.cut.clear()
        for one, other in sorted(self._half_open):
            for here, there in ((one, other), (other, one)):
                member = self.members[here]
                member.core.disconnected(there, self.now)
                member.core.connected(there)
                member.woken = True
        self._half_open.clear()

    def running(self) -> list[Member]:
        """Members with a process, by id."""
        return [one for _, one in sorted(self.members.items()) if one.running]

    def say(self, line: str) -> None:
        """One thing happened."""
        self.lines.append(line)

    def said(self) -> list[str]:
        """Returns what happened since the last call."""
        lines, self.lines = self.lines, []
        return lines

    # Moving on

    def settle(self) -> None:
        """Deliver messages and step members until nothing is left to do, at one moment (but for the
        2 ms after which a leader announces a commit index).
        """
        for _ in range(1000):
            if not self.round():
                deadlines = [one.core.deadline for one in self.running() if one.core.deadline]
                if not deadlines:
                    return
                self.now = max(self.now, min(deadlines))
                for one in self.running():
                    one.woken = one.woken or one.core.deadline is not None
        raise AssertionError("the cluster does not come to rest")

    def round(self) -> bool:
        """Deliver what is under way, then step every member that has something to do. Returns
        whether anything was done.
        """
        network, self._network = self._network, deque()
        for sender, receiver, message in network:
            one = self.members.get(receiver)
            if one is not None and one.running and (sender, receiver) not in self.cut:
                one.inbox.append((sender, message))
        busy = [one for one in self.running() if one.needs_step()]
        for one in busy:
            self.step(one)
        return bool(busy or network)

    def step(self, one: Member) -> None:
        """One step of a member, and the work of its `Ready`."""
        inbox, one.inbox, one.woken = one.inbox, [], False
        ready = one.core.step(self.now, inbox)
        self._send(one, ready.appends)
        self._send(one, ready.messages)
        if one.slow_disk and ready.flush:
            self.say(f"{one.id} flushes …")
            one.unflushed = list(ready.after_flush)
            self._apply(one, ready)
            self._finish(one, ready)
            return
        if ready.flush_first:
            self._flush(one)
            self._send(one, ready.after_flush)
        self._apply(one, ready)
        if not ready.flush_first:
            self._flush(one)
            self._send(one, ready.after_flush)
        self._finish(one, ready)

    def flush(self, one: Member) -> None:
        """The slow disk of a member is done."""
        held, one.unflushed = one.unflushed or [], None
        self._flush(one)
        self._send(one, held)
        one.woken = True

    def _flush(self, one: Member) -> None:
        journal = one.journal
        before = journal.durable_index
        if journal.flush():
            entries = journal.entries(before + 1, journal.last_index + 1)
            vote = journal.getVotedForNodeId()
            text = f"term {journal.getCurrentTerm()}" + (f", vote {vote}" if vote else "")
            self.say(f"{one.id} stores {', '.join((*map(entry_text, entries), text))}")

    def _send(self, one: Member, messages: Any) -> None:
        for receiver, message in messages:
            lost = " (lost)" if (one.id, receiver) in self.cut else ""
            self.say(f"{one.id} -> {receiver}  {message_text(message)}{lost}")
            self._network.append((one.id, receiver, message))

    def _apply(self, one: Member, ready: Ready) -> None:
        for done, result in (*ready.reads, *ready.answers):
            done(result)
        if not ready.entries:
            return
        results: list[object] = []
        for entry in ready.entries:
            self.say(f"{one.id} applies {applied_text(entry)}")
            results += [self._result(one, payload) for payload, _ in entry.requests]
            one.machine.positions = (entry.position, one.machine.positions[0])
        answers, reads = one.core.applied(one.machine.positions[0], results)
        for done, result in (*answers, *reads):
            done(result)

    def _result(self, one: Member, payload: bytes) -> int:
        machine = one.machine
        if payload[0] >= CONF_CHANGE:
            machine.membership = membership_of(json.loads(payload[1:]))
            one.core.apply_membership(machine.membership)
        else:
            machine.payloads.append(payload.decode())
        return len(machine.payloads)

    def _finish(self, one: Member, ready: Ready) -> None:
        events = ready.events
        if events is None:
            return
        if events.membership is not None:
            effective = events.membership.effective
            learners = f", learners {ids(effective.learners)}" if effective.learners else ""
            self.say(f"{one.id} counts by voters {ids(effective.voters)}{learners}")
        for member in sorted(events.snapshots):
            self.say(f"{one.id} sends {member} a snapshot at {position_text(one)}")
            self._install(one, self.members[member])
        for member, why in events.broken:
            self.say(f"{one.id} closes its connection to {member}: {why}")
        if events.role is not None:
            self.say(f"{one.id} {role_text(one.id, events.role)}")

    def _install(self, leader: Member, follower: Member) -> None:
        """The snapshot arrives, as a whole."""
        core = follower.core
        newer = leader.machine.positions[0].index > core.commit_index
        if newer:
            follower.machine = leader.machine.copy()
            last, before = follower.machine.positions
            if reconcile(follower.journal, last, before):
                follower.journal.settle()
            core.installed(last)
            if follower.machine.membership is not None:
                core.apply_membership(follower.machine.membership)
            self.say(f"{follower.id} installs it")
        core.acknowledge_snapshot(leader.id, installed=newer)

    def answering(self, what: str, member: int) -> Callable[[object], None]:
        """Returns a callback that says what a call was answered with."""

        def done(result: object) -> None:
            text = type(result).__name__ if isinstance(result, Exception) else result
            self.say(f"{member} answers {what}" + (f": {text}" if text is not None else ""))

        return done


def ids(members: frozenset[int]) -> str:
    return " ".join(map(str, sorted(members)))


def membership_of(fields: dict[str, list[int]]) -> Membership:
    """A membership from lists of voters, learners and removed members."""
    voters, learners = frozenset(fields["voters"]), frozenset(fields.get("learners", ()))
    urls = {member: (f"http://{member}",) for member in sorted(voters | learners)}
    return Membership(voters, learners, urls, frozenset(fields.get("removed", ())))


def conf_change(membership: Membership) -> bytes:
    """The payload of a ConfChange."""
    fields = {
        "voters": sorted(membership.voters),
        "learners": sorted(membership.learners),
        "removed": sorted(membership.removed),
    }
    return bytes([CONF_CHANGE]) + json.dumps(fields).encode()


# As text


def position_text(one: Member) -> str:
    index, term = one.machine.positions[0]
    return f"{index}/{term}"


def role_text(member: int, role: Role) -> str:
    if role.leads:
        return f"leads in term {role.term}"
    return f"follows {role.leader or 'nobody'} in term {role.term}"


def payload_text(payload: bytes) -> str:
    if payload and payload[0] >= CONF_CHANGE:
        fields = json.loads(payload[1:])
        parts = [f"{name} {' '.join(map(str, of))}" for name, of in fields.items() if of]
        return f"conf-change({', '.join(parts)})"
    return f'"{payload.decode()}"'


def command_text(command: bytes) -> str:
    requests = decode_entry(command)
    if not requests:
        return "snapshot" if len(command) > 1 else "no-op"
    return " ".join(payload_text(payload) for _, _, payload in requests)


def entry_text(entry: LogEntry) -> str:
    command, index, term = entry
    return f"{index}/{term} {command_text(command)}"


def applied_text(entry: Entry) -> str:
    index, term = entry.position
    requests = " ".join(payload_text(payload) for payload, _ in entry.requests)
    return f"{index}/{term} {requests or 'no-op'}"


def message_text(message: Frame) -> str:
    """A message as a line of the dialogue."""
    return f"{_NAMES[type(message)]} {' '.join(_fields(message))}".rstrip()


_NAMES: dict[type[Frame], str] = {
    AppendEntries: "append",
    AppendReply: "reply",
    RequestVote: "request-vote",
    VoteGranted: "vote",
    TimeoutNow: "timeout-now",
    PreVote: "prevote",
    PreVoteReply: "prevote-reply",
    HigherTerm: "higher-term",
    Propose: "propose",
    ReadRound: "read-round",
    ReadRoundReply: "read-round-reply",
    ReadIndexRequest: "read-index",
    ReadIndexReply: "read-index-reply",
    SnapshotRequest: "want-snapshot",
}


def _fields(message: Frame) -> Iterator[str]:
    match message:
        case AppendEntries():
            yield f"term={message.term}"
            if message.is_heartbeat:
                yield "heartbeat"
                return
            yield f"prev={message.prev_index}/{message.prev_term} commit={message.commit_index}"
            if message.entries:
                yield f"[{', '.join(map(entry_text, message.entries))}]"  # type: ignore[arg-type]
        case AppendReply():
            yield f"term={message.term}"
            yield ("accepted" if message.success else "rejected" if message.reset else "alive")
            if message.success or message.reset:
                yield f"next={message.next_index}"
        case RequestVote():
            yield f"term={message.term} last={message.last_log_index}/{message.last_log_term}"
            if message.transfer:
                yield "transfer"
        case PreVote():
            yield f"term={message.term} last={message.last_index}/{message.last_term}"
        case PreVoteReply():
            yield f"term={message.term}"
            yield ("granted" if message.granted else "refused")
        case Propose():
            yield f"term={message.term}"
            yield " ".join(payload_text(payload) for _, _, payload in message.batch)
        case ReadRound() | ReadRoundReply():
            yield f"term={message.term} number={message.number}"
        case ReadIndexRequest():
            yield f"request={message.id & 0xFFFF}"
        case ReadIndexReply():
            yield f"request={message.id & 0xFFFF} index={message.index}"
        case VoteGranted() | TimeoutNow() | HigherTerm() | SnapshotRequest():
            yield f"term={message.term}"
