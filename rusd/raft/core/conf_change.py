"""Changes of the membership in the log: one at a time, each in force once it is applied.

As in etcd a change is an entry like any other, committed by the members before it, and in force on
each member from the moment it applies it. Two memberships that differ by one member have no two
majorities without a common one, so nothing can be decided twice while some apply it earlier than
others. That argument needs two rules (etcd's `pendingConfIndex`, and its refusal to campaign over
committed but unapplied changes):

- A leader adds a change to its log only when it has applied the one before, and everything that
  earlier leaders may have left behind: an entry of its own term is applied.
- Hence every change in a log but the last is known to be committed; a member applies those before
  it campaigns, or it would count by a membership that is two changes old. After a crash the log
  says so, whatever the member knew of the commit index (`committed_by_changes`).

No clock, no socket: the node calls in.
"""

from collections import deque
from collections.abc import Iterable

from rusd.raft.core.proposals import Proposed, encode_change, is_change
from rusd.raft.core.syncobj import RaftCore


class Changes:
    """The leader's changes that wait for their turn."""

    def __init__(self, core: RaftCore) -> None:
        self._core = core
        self._waiting: deque[Proposed] = deque()
        self._term = 0
        #: The newest change this leader put into its log.
        self._last_index = 0

    def add(self, changes: Iterable[Proposed]) -> None:
        """Take what was proposed to this leader in its term."""
        if self._term != self._core.term:
            self.drop()
            self._term = self._core.term
        self._waiting.extend(changes)

    def drop(self) -> None:
        """Leadership is over: whoever proposed them proposes them again."""
        self._waiting.clear()
        self._last_index = 0

    def step(self, *, current: bool) -> bool:
        """Put the next one into the log if its turn has come; whether it was. `current`: an entry
        of the core's term is applied here."""
        core = self._core
        if not self._waiting:
            return False
        if self._term != core.term:
            self.drop()
            return False
        if not current or self._last_index > core.applied_index:
            return False
        self._last_index = core.propose(encode_change(self._waiting.popleft()))
        return True


def committed_by_changes(core: RaftCore) -> int:
    """The last index that the changes in the log beyond the applied ones prove to be committed; 0:
    they prove nothing."""
    log = core.log
    changes = [
        index
        for command, index, _ in log.entries(core.applied_index + 1, log.last_index + 1)
        if is_change(command)
    ]
    return changes[-2] if len(changes) > 1 else 0
