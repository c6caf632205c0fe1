"""When a leader tells the others of a commit index that moved.

etcd does at once. Here the index travels with the next entries if there are some soon, which saves
every member a turn per write; without any it follows within `PATIENCE`. It goes at once if a call
on a follower waits for it: a forwarded proposal, a linearizable read.
"""

#: Seconds that followers may learn of a commit later than they could, if none of their calls waits.
PATIENCE = 0.002


class Announcing:
    """What the others were told last. No clock, no timer: the node calls in."""

    def __init__(self) -> None:
        self._told = 0
        #: When the index that moved is to be told at the latest; 0: there is none.
        self.due = 0.0

    def wants(self, commit: int, awaited: int, now: float) -> bool:
        """Whether the commit index is to be sent though there are no entries to send. `awaited`:
        the highest index that a call on a follower waits for."""
        if commit == self._told:
            return False
        if not self.due:
            self.due = now + PATIENCE
        # (A timer may come a little early.)
        return self._told < awaited or now >= self.due - PATIENCE / 2

    def told(self, commit: int) -> None:
        """It was sent, alone or with entries."""
        self._told = commit
        self.due = 0.0
