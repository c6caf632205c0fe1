"""When a leader tells followers of a commit index that moved.

etcd does at once. Here the index travels with the next entries if there are some soon, which saves
every member a turn per write; without any it follows within `PATIENCE`. It goes at once if a call
on a follower waits for it: a forwarded proposal, a linearizable read.
"""

#: Seconds that followers may learn of a commit later than they could, if none of their calls waits.
PATIENCE = 0.002


class CommitNotice:
    """The commit index that was sent last, and the deadline of the next one."""

    def __init__(self) -> None:
        self._sent = 0
        #: When the index that moved is sent at the latest, None if none waits.
        self.deadline: float | None = None

    def due(self, commit: int, awaited: int, now: float) -> bool:
        """Whether the commit index is to be sent though there are no entries to send. `awaited`:
        the highest index that a call on a follower waits for.
        """
        if commit == self._sent:
            return False
        if self.deadline is None:
            self.deadline = now + PATIENCE
        # (A timer may fire a little early.)
        return self._sent < awaited or now >= self.deadline - PATIENCE / 2

    def sent(self, commit: int) -> None:
        """The index was sent, alone or with entries."""
        self._sent = commit
        self.deadline = None
