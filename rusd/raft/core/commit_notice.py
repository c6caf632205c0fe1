"""The time at which a leader announces an advanced commit index to followers.

etcd does at once. Here the index travels with the next entries if there are some soon, which saves
every member a turn per write; without any it follows within `PATIENCE`. A follower on which a call
waits for it (a forwarded proposal, a linearizable read) is told at once, and it alone.
"""

from collections.abc import Iterable

#: Seconds that followers may learn of a commit later than they could, if none of their calls waits.
PATIENCE = 0.002


class CommitNotice:
    """The last announced commit index, and the deadline of the next announcement."""

    def __init__(self) -> None:
        #: Sent to all members; to single ones.
        self._sent = 0
        self._told: dict[int, int] = {}
        #: Member -> the highest index that a call on it waits for.
        self._awaited: dict[int, int] = {}
        #: When the index that moved is sent to all at the latest, None if none waits.
        self.deadline: float | None = None

    def wait(self, member: int, index: int) -> None:
        """Record that a call on this member waits for `index` to be committed."""
        self._awaited[member] = max(index, self._awaited.get(member, 0))

    def recipients(self, members: Iterable[int], commit: int, now: float) -> list[int]:
        """Returns those of the members to which the commit index must be sent without entries; they
        count as informed.
        """
        if commit == self._sent:
            return []
        if self.deadline is None:
            self.deadline = now + PATIENCE
        # (A timer may fire a little early.)
        due = now >= self.deadline - PATIENCE / 2
        found = []
        for member in members:
            told = max(self._sent, self._told.get(member, 0))
            if told < commit and (due or told < self._awaited.get(member, 0)):
                self._told[member] = commit
                found.append(member)
        if due:
            self.sent(commit)
        return found

    def sent(self, commit: int) -> None:
        """Record that the index was sent to all members, alone or with entries."""
        self._sent = commit
        self._told.clear()
        self.deadline = None
