"""Raft's invariants over all members, looked at after every step.

- Election safety: one leader for a term; a member votes once in a term, also across restarts.
- Log matching: entries of one index and term are the same everywhere, and follow the same ones.
- Leader completeness: a leader holds everything that was committed in earlier terms.
- State machine safety: what is applied at an index is the same everywhere.
- Match indexes: what a leader believes of another's disk is there.
- ConfChanges of the membership: every one in a log but the last is committed.
- Durability: a vote, an acknowledgement or a term leaves no sooner than it is on the disk; the log
  is cut no further than the state on the disk reaches.
- Removal: a member that was sent the commit of its removal ends by its own log.
"""

from typing import TYPE_CHECKING

from rusd.proto import rpc_pb2 as rpc
from rusd.raft.commands import STAND_IN, decode_entry, is_conf_change
from rusd.raft.transport.frames import AppendEntries, AppendReply, RequestVote, VoteGranted
from rusd.state.command import Kind
from rusd.state.positions import Positions
from tests.sim.network import frames_of

if TYPE_CHECKING:
    from tests.sim.disk import SimJournal
    from tests.sim.member import Host

#: (term, command) of an entry.
Kept = tuple[int, bytes]


def removed_member(command: bytes) -> int:
    """Return the member that an entry removes, or 0."""
    for _, _, payload in decode_entry(command) if is_conf_change(command) else ():
        if payload[0] == Kind.MEMBER_REMOVE:
            return rpc.Member.FromString(payload[1:]).ID
    return 0


class Violation(AssertionError):
    """An invariant does not hold."""


class Invariants:
    """Observations of one world so far."""

    def __init__(self) -> None:
        self.leaders: dict[int, int] = {}
        #: (index, term) -> (command, term of the entry before).
        self._entries: dict[tuple[int, int], tuple[bytes, int]] = {}
        #: Committed entries by index.
        self.committed: dict[int, Kept] = {}
        #: Index -> term of the member that first knew it to be committed.
        self._committed_in: dict[int, int] = {}
        self.highest = 0
        #: Member -> applied index in this life.
        self._applied: dict[int, int] = {}
        self._commit: dict[int, int] = {}
        #: (member, term) -> candidate.
        self._votes: dict[tuple[int, int], str] = {}
        #: (member, leader's term) of a leadership that was examined.
        self._examined: set[tuple[int, int]] = set()
        #: Member -> index up to which it acknowledged, with the entries' terms, by term.
        self.checks = 0

    # --- the log ----------------------------------------------------------------------------------

    def durable(self, host: "Host", journal: "SimJournal", first: int) -> None:
        """Entries from `first` on are on this member's disk.

        Those that were neither flushed nor sent when the process ended never were.
        """
        entries = journal.entries(first, 1 << 60)
        if any(is_conf_change(command) for command, _, _ in entries):
            changes = [
                index
                for command, index, _ in journal.entries(0, 1 << 60)
                if is_conf_change(command)
            ]
            if len(changes) > 1 and changes[-2] > self.highest:
                raise Violation(f"{host.member} has changes {changes}, of which two are open")
        before = journal.term_at(first - 1)
        for command, index, term in entries:
            self._same(host, index, term, command, before)
            before = term

    def _same(
        self, host: "Host", index: int, term: int, command: bytes, before: int | None
    ) -> None:
        known = self._entries.get((index, term))
        if command == STAND_IN:
            return  # it stands where a log begins behind a snapshot
        if known is None:
            if before is not None:
                self._entries[index, term] = (command, before)
            return
        if known[0] != command:
            raise Violation(f"log matching: {host.member} has another entry {index} of term {term}")
        if before is not None and known[1] != before:
            raise Violation(
                f"log matching: before entry {index} of term {term}, {host.member} has term "
                f"{before}, another {known[1]}"
            )

    # --- after each turn --------------------------------------------------------------------------

    def started(self, host: "Host") -> None:
        self._applied[host.member] = self._commit[host.member] = 0
        self._examined = {one for one in self._examined if one[0] != host.member}

    def step(self, host: "Host") -> None:
        self.checks += 1
        node = host.node
        core = node._core
        if core.is_leader:
            leader = self.leaders.setdefault(core.term, host.member)
            if leader != host.member:
                raise Violation(
                    f"election safety: {host.member} and {leader} lead in term {core.term}"
                )
            if (host.member, core.term) not in self._examined:
                self._examined.add((host.member, core.term))
                self._complete(host)
            self._matches(host)
        self._committed(host)
        applied = core.applied_index
        if applied < self._applied[host.member]:
            raise Violation(f"{host.member} went back from {self._applied[host.member]}")
        if applied > core.commit_index:
            raise Violation(f"{host.member} applied {applied} beyond its commit index")
        self._applied[host.member] = applied
        positions = host.machine.positions()[0]
        kept = self.committed.get(positions.index)
        if kept is not None and kept[0] != positions.term and positions.index > 1:
            raise Violation(f"state machine safety: {host.member} applied {positions}, not {kept}")

    def _matches(self, host: "Host") -> None:
        core, log = host.node._core, host.journal
        for member in core.peers:
            other = host.world.hosts.get(member)
            if other is None or other.process is None or other.node.term > core.term:
                continue
            if other.disk_replaced:
                continue  # the leader knows it with its next connection
            index = core.match_index(member)
            its = other.journal
            if index <= max(its.first_index, log.first_index, other.node.applied_index):
                continue
            if its.term_at(index) is None or its.term_at(index) != log.term_at(index):
                raise Violation(
                    f"{host.member} believes that {member} holds entry {index} of term "
                    f"{log.term_at(index)}; it has {its.term_at(index)}, and {its.last_index} last"
                )

    def _complete(self, host: "Host") -> None:
        log = host.journal
        for index in range(max(log.first_index, 2), self.highest + 1):
            term = log.term_at(index)
            if self._committed_in.get(index, host.node.term) >= host.node.term:
                continue  # a later leader committed it; this one does not know yet
            if term is None or (index in self.committed and self.committed[index][0] != term):
                raise Violation(
                    f"leader completeness: {host.member} leads in term {host.node.term} without "
                    f"committed entry {index}"
                )

    def _committed(self, host: "Host") -> None:
        core, log = host.node._core, host.journal
        start = max(self._commit[host.member] + 1, log.first_index)
        for command, index, term in log.entries(start, core.commit_index + 1):
            self._committed_in.setdefault(index, core.term)
            kept = self.committed.setdefault(index, (term, command))
            if kept[0] != term:
                raise Violation(
                    f"state machine safety: {host.member} has committed entry {index} of term "
                    f"{term}, another of term {kept[0]}"
                )
        self._commit[host.member] = max(self._commit[host.member], core.commit_index)
        self.highest = max(self.highest, core.commit_index)

    def crashed(self, host: "Host") -> None:
        """The state that a power loss leaves reaches the first entry of the log."""
        left, log = Positions(), host.journal
        left.load(host.machine.engine)
        if left.applied.index < log.first_index:
            raise Violation(
                f"durability: the log of {host.member} begins at entry {log.first_index}, a power "
                f"loss leaves its state at {left.applied.index}"
            )

    def removed_by_peers(self, host: "Host") -> None:
        """A member to which a leader committed its removal ends by its own log."""
        if host.process is None:
            return  # it asked before it took part
        removals = (
            index
            for index, (_, command) in self.committed.items()
            if removed_member(command) == host.member
        )
        index = next(removals, None)
        for leader, handed in host.handed.items():
            if index is not None and handed.committed >= index and handed.term >= host.node.term:
                raise Violation(
                    f"{host.member} ends by what peers say, though {leader} had sent it the commit "
                    f"of its removal at {index}"
                )

    # --- what leaves ------------------------------------------------------------------------------

    def sent(self, host: "Host", receiver: int, data: bytes) -> None:
        for frame in frames_of(data):
            if isinstance(frame, VoteGranted):
                self._vote(host, frame.term, f"{receiver:x}")
            elif isinstance(frame, RequestVote):
                self._vote(host, frame.term, f"{host.member:x}")
            elif isinstance(frame, AppendEntries):
                before = None if frame.is_heartbeat else frame.prev_term
                for command, index, term in frame.entries or ():
                    if command == STAND_IN:
                        raise Violation(f"{host.member} sends a stand-in for entry {index}")
                    self._same(host, index, term, command, before)
                    before = term
            elif isinstance(frame, AppendReply) and frame.success:
                self._acknowledged(host, frame)

    def _vote(self, host: "Host", term: int, candidate: str) -> None:
        durable_term, durable_vote = host.journal.durable
        if durable_term < term or (durable_term == term and durable_vote != candidate):
            raise Violation(f"{host.member}'s vote in term {term} leaves before it is durable")
        known = self._votes.setdefault((host.member, term), candidate)
        if known != candidate:
            raise Violation(f"{host.member} votes twice in term {term}")

    def _acknowledged(self, host: "Host", frame: AppendReply) -> None:
        upto = frame.next_index - 1
        if upto > host.journal.durable_index:
            raise Violation(
                f"{host.member} acknowledges entry {upto}; {host.journal.durable_index} is durable"
            )
        if host.journal.durable[0] < frame.term:
            raise Violation(f"{host.member} acknowledges in a term that is not durable")
