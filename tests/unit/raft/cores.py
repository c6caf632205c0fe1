"""Raft cores joined by an in-memory wire that a test can read, hold back, repeat or cut.

Each core has its real journal and filters; nothing runs unless the test says so.
"""

import copy
from collections.abc import Callable
from pathlib import Path

from rusd.raft.core.messages import Message
from rusd.raft.core.syncobj import PySyncObjRaft
from rusd.raft.log.journal import Journal
from rusd.raft.log.reconcile import reconcile
from rusd.raft.ports import LogEntry, Position

EMPTY = (Position(1, 0), Position(1, 0))


class ApplyingRaft(PySyncObjRaft):
    """Applies what is committed with every tick."""

    #: Applies entries; returns how many.
    apply: Callable[[list[LogEntry]], int]

    def tick(self) -> None:
        super().tick()
        group = list(self.next_entries())
        if group and (count := self.apply(group)):
            self.applied(group[count - 1][1])


class Member:
    """A core with its surroundings."""

    def __init__(
        self,
        member: int,
        others: list[int],
        directory: Path,
        applied: tuple[Position, Position] = EMPTY,
    ) -> None:
        self.id = member
        self.journal = Journal(directory)
        self.applied: list[LogEntry] = []
        if reconcile(self.journal, *applied):
            self.journal.settle()
        self.core = ApplyingRaft(
            member,
            others,
            self.journal,
            applied[0],
            heartbeat=0.001,
            quorum_timeout=1000.0,
            now=1.0,
        )
        self.core.apply = self._apply
        for peer in self.core.peers.values():
            self.core.link.connected(peer)

    def _apply(self, entries: list[LogEntry]) -> int:
        self.applied += entries
        return len(entries)

    def installed(self, last: Position, before: Position) -> None:
        """The state was replaced by a snapshot."""
        reconcile(self.journal, last, before)
        self.journal.settle()
        self.core.installed(last)

    def receive(self, sender: int, message: Message) -> None:
        """Handle a received message, as the node does."""
        self.core.receive_message(sender, copy.deepcopy(message))

    def sent(self, to: int | None = None, kind: str | None = None) -> list[Message]:
        """Take what was sent so far (and is durable by now), all of it or a selection."""
        self.journal.flush()
        outbox, self.core.link.outbox[:] = list(self.core.link.outbox), []
        return [
            message
            for member, message in outbox
            if to in (None, member) and kind in (None, message["type"])
        ]

    def lead(self, term: int, voters: list[int]) -> None:
        """Become leader of `term` by the votes of `voters`."""
        while self.core.term < term:
            self.core.campaign()
        for voter in voters:
            self.receive(voter, {"type": "response_vote", "term": term})
        assert self.core.is_leader
        self.sent()

    def append(
        self,
        leader: int,
        term: int,
        prev: tuple[int, int],
        entries: list[LogEntry],
        commit: int = 1,
    ) -> None:
        """Receive entries from a leader; `prev` = (index, term) before them."""
        self.receive(
            leader,
            {
                "type": "append_entries",
                "term": term,
                "commit_index": commit,
                "prevLogIdx": prev[0],
                "prevLogTerm": prev[1],
                "entries": [list(entry) for entry in entries],
            },
        )

    def log(self) -> list[tuple[int, int]]:
        """(index, term) of every entry held."""
        return [(index, term) for _, index, term in self.journal.entries(0, 1 << 60)]


def entry(index: int, term: int, text: str = "") -> LogEntry:
    """A regular entry."""
    return (b"\x00" + text.encode(), index, term)


def entries(first: int, last: int, term: int) -> list[LogEntry]:
    return [entry(index, term) for index in range(first, last + 1)]
