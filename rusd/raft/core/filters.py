"""Checks between the wire and PySyncObj: each closes a hazard that loses writes.

PySyncObj trusts its messages more than Raft allows. `Filters.incoming` decides what of a peer's
message PySyncObj gets to see; `Filters.complete` adds to what PySyncObj sends. Both are functions
of the Raft state, so each hazard has a test without a socket.
"""

from rusd.raft.commands import NO_OP, REGULAR, STAND_IN
from rusd.raft.core.algorithm import Algorithm, BrokenMessage
from rusd.raft.core.messages import Message


class Filters:
    """The checks of one member."""

    def __init__(self, raft: Algorithm) -> None:
        self._raft = raft
        self._checks = {
            "append_entries": self._append_entries,
            "next_node_idx": self._acknowledgement,
            "request_vote": self._request_vote,
            "response_vote": self._response_vote,
            "timeout_now": self._timeout_now,
        }
        #: Voters whose grant was counted, and the term they belong to.
        self._voters: set[int] = set()
        self._voters_term = 0
        #: As leader: the attempt of the next append, and for each member that rejected one the
        #: attempt that followed.
        self._attempt = 1
        self._attempts: dict[int, int] = {}
        #: As follower: the attempt of the append that is handled.
        self._handled = 0

    # Outgoing

    def complete(self, message: Message) -> None:
        """Complete a message of PySyncObj when it is sent."""
        kind = message["type"]
        if kind == "next_node_idx":
            # An acknowledgement speaks of the log in one term: the receiver must know which.
            message["term"] = self._raft.term
            if message["reset"] and not message["success"]:
                message["next_node_idx"] = self._first_of_term(message["next_node_idx"])
                message["attempt"] = self._handled
        elif kind == "append_entries":
            message["attempt"] = self._attempt
        elif kind == "request_vote" and self._raft.transferring:
            message["transfer"] = True

    def _first_of_term(self, index: int) -> int:
        """Returns the first index of the conflicting term, so that a leader skips terms, not
        entries.
        """
        log = self._raft.log
        floor = max(log.first_index + 1, self._raft.commit_index + 1)
        term = log.term_at(index)
        if term is None:
            return index
        while index > floor and log.term_at(index - 1) == term:
            index -= 1
        return index

    # Incoming

    def incoming(self, member: int, message: Message) -> Message | None:
        """Returns the message as PySyncObj may receive it, or None. Raises BrokenMessage."""
        check = self._checks.get(message["type"])
        if check is None:
            raise BrokenMessage(f"unknown message {message['type']!r}")
        return check(member, message)

    def _acknowledgement(self, member: int, message: Message) -> Message | None:
        raft = self._raft
        if not raft.is_leader or message["term"] != raft.term:
            return None  # of another leadership: matchIndex would lie
        if not 1 <= message["next_node_idx"] <= raft.log.last_index + 1:
            return None
        if message["reset"] and not message["success"]:
            attempt = message.get("attempt", 0)
            if 0 < attempt < self._attempts.get(member, 0):
                # Of several appends under way each is rejected. The first one was followed: the
                # others would only have the same entries sent once more. A sign of life, as
                # `heard_from`.
                message["next_node_idx"], message["reset"] = 1, False
                return message
            self._attempt = self._attempts[member] = self._attempt + 1
            # The first is rejected for a conflict, the others for a gap behind the log's end, where
            # the conflict is: to go there again ends nowhere. (Earlier releases send no attempt.)
            following = raft.next_index(member)
            message["next_node_idx"] = min(message["next_node_idx"], following)
        return message

    def _append_entries(self, member: int, message: Message) -> Message | None:
        raft, log = self._raft, self._raft.log
        if message["term"] < raft.term:
            return None
        if raft.is_leader and message["term"] == raft.term:
            raise BrokenMessage("another leader in this term")
        if message.keys() & {"serialized", "transmission"}:
            raise BrokenMessage("PySyncObj's own snapshots are never sent")
        if "prevLogIdx" not in message:
            message["commit_index"] = 0  # a mere sign of life proves nothing of the log
            return message
        entries = message["entries"]
        self._handled = message.get("attempt", 0)
        index, term = message["prevLogIdx"], message["prevLogTerm"]
        for offset, entry in enumerate(entries, 1):
            if entry[1] != index + offset or entry[0][:1] not in (REGULAR, NO_OP):
                raise BrokenMessage("entries that do not follow each other")
            if entry[0] == STAND_IN:
                raise BrokenMessage("a stand-in for an entry of a snapshot")
            if entry[2] > message["term"]:
                raise BrokenMessage("an entry of a later term than its leader's")
        if index < log.first_index:
            # What is compacted here is applied, hence equal on all members (log matching).
            entries = [entry for entry in entries if entry[1] > log.first_index]
            index, term = log.first_index, log.term_at(log.first_index)
        if log.term_at(index) == term:
            # Entries held already must not be truncated and added again: they may have been
            # acknowledged, and the rest of the log behind them too.
            held = 0
            while held < len(entries) and log.term_at(entries[held][1]) == entries[held][2]:
                index, term = entries[held][1], entries[held][2]
                held += 1
            entries = entries[held:]
            if entries and index < raft.commit_index:
                raise RuntimeError(
                    f"the leader's entry {index + 1} contradicts the committed entry here"
                )
            log.shield = not entries
            message["commit_index"] = min(
                message["commit_index"], entries[-1][1] if entries else index
            )
        message["entries"], message["prevLogIdx"], message["prevLogTerm"] = entries, index, term
        return message

    def _request_vote(self, member: int, message: Message) -> Message | None:
        if message["term"] < self._raft.term:
            return None
        return message

    def _response_vote(self, member: int, message: Message) -> Message | None:
        if message["term"] != self._raft.term:
            return None
        if self._voters_term != self._raft.term:
            self._voters, self._voters_term = set(), self._raft.term
        if member in self._voters or member not in self._raft.membership.voters:
            return None  # PySyncObj counts messages, Raft counts voters
        self._voters.add(member)
        return message

    def _timeout_now(self, member: int, message: Message) -> Message | None:
        if message["term"] != self._raft.term or self._raft.leader != member:
            return None
        return message if self._raft.may_campaign() else None
