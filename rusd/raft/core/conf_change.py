"""ConfChanges in the log: one at a time, each in force once it is applied.

As in etcd a ConfChange is an entry like any other, committed by the members before it, and in force
on each member from the moment that member applies it. Two memberships that differ by one member
have no two majorities without a common member, so nothing is decided twice while some members apply
it earlier than others. That argument needs two rules (etcd's `pendingConfIndex`, and its refusal to
campaign over committed but unapplied changes):

- A leader appends a ConfChange only when it has applied the one before, and everything that earlier
  leaders may have left behind: an entry of its own term is applied.
- Hence every ConfChange in a log but the last is known to be committed; a member applies those
  before it campaigns, or it would count by a membership that is two changes old. After a crash the
  log shows it, whatever the member knew of the commit index (`committed_by_conf_changes`).
"""

from collections import deque
from collections.abc import Iterable

from rusd.raft.commands import Proposed, encode_conf_change, is_conf_change
from rusd.raft.core.algorithm import Algorithm


class ConfChanges:
    """The leader's ConfChanges that wait to be appended."""

    def __init__(self, raft: Algorithm) -> None:
        self._raft = raft
        self._waiting: deque[Proposed] = deque()
        self._term = 0
        #: The newest ConfChange this leader appended.
        self._last_index = 0

    @property
    def waiting(self) -> bool:
        """Whether changes wait."""
        return bool(self._waiting)

    def add(self, changes: Iterable[Proposed]) -> None:
        """Queue ConfChanges that were proposed to this leader in its term."""
        if self._term != self._raft.term:
            self.drop()
            self._term = self._raft.term
        self._waiting.extend(changes)

    def drop(self) -> None:
        """Drop all after the loss of leadership: the proposing members propose them again."""
        self._waiting.clear()
        self._last_index = 0

    def step(self, *, current: bool) -> bool:
        """Append the next one if the one before is applied; returns whether it was. `current`: an
        entry of the current term is applied here.
        """
        raft = self._raft
        if not self._waiting:
            return False
        if self._term != raft.term:
            self.drop()
            return False
        if not current or self._last_index > raft.applied_index:
            return False
        self._last_index = raft.propose(encode_conf_change(self._waiting.popleft()))
        return True


def committed_by_conf_changes(raft: Algorithm) -> int:
    """Returns the last index that the unapplied ConfChanges in the log prove to be committed, or 0
    if they prove nothing.
    """
    log = raft.log
    changes = [
        index
        for command, index, _ in log.entries(raft.applied_index + 1, log.last_index + 1)
        if is_conf_change(command)
    ]
    return changes[-2] if len(changes) > 1 else 0
