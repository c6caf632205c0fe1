"""Taking over the state that a leader sends to a member which its log cannot bring up to date.

A member that joins has no state at all, and may not build one from the log's beginning either: its
founders wrote their membership into the state before the first entry. So it refuses entries until a
snapshot came:

    want_snapshot {term}      instead of an acknowledgement, to the leader

A member in quarantine (`quarantine.py`) does the same, and acknowledges not even the snapshot.
"""

from rusd.raft.core.apply import Applier
from rusd.raft.core.outbox import Outgoing
from rusd.raft.core.proposals import Proposals
from rusd.raft.core.quarantine import Quarantine
from rusd.raft.core.syncobj import RaftCore
from rusd.raft.errors import LeaderFailed
from rusd.raft.log.compaction import Compaction
from rusd.raft.ports import Machine
from rusd.raft.snapshots.streams import CatchUp
from rusd.raft.transport.frames import AppendEntries, AppendReply, Snapshot, SnapshotRequest


class Installing:
    """One member's side of being sent a snapshot."""

    def __init__(
        self,
        core: RaftCore,
        machine: Machine,
        catchup: CatchUp,
        applier: Applier,
        compaction: Compaction,
        proposals: Proposals,
        outgoing: Outgoing,
        quarantine: Quarantine,
        *,
        joining: bool,
    ) -> None:
        """`joining`: no entry is taken before a snapshot."""
        self._core = core
        self._machine = machine
        self._catchup = catchup
        self._applier = applier
        self._compaction = compaction
        self._proposals = proposals
        self._outgoing = outgoing
        self._quarantine = quarantine
        self.joining = joining

    def withhold(self, member: int, frame: AppendEntries, now: float) -> AppendEntries:
        """An append as a member that joins, or is in quarantine, may see it: without the
        entries."""
        needs = self.joining or self._quarantine.active
        if not needs or frame.is_heartbeat or frame.term < self._core.term:
            return frame
        if self.joining or self._quarantine.wants_state(now):
            self._outgoing.later(member, SnapshotRequest(frame.term))
        return AppendEntries(frame.term, 0)

    def wanted(self, member: int, frame: SnapshotRequest, now: float) -> None:
        """`want_snapshot`."""
        if self._core.is_leader and frame.term == self._core.term:
            self._core.heard_from(member)
            self._catchup.begin(member, self._core.applied_index, now)

    def snapshot(self, member: int, frame: Snapshot, now: float) -> None:
        """`snapshot`: a part of the stream, or its end."""
        core = self._core
        if core.leader != member:
            return
        complete = self._catchup.receive(member, frame)
        if complete is None:
            return
        installed = complete.index > core.commit_index
        proven = core.commit_index
        if installed:
            # Whatever fails from here on ends the process; the next start finds one whole state.
            self._machine.restore(complete.directory)
            last, before = self._machine.positions()
            if last.index < complete.index:
                raise RuntimeError(f"the snapshot ends at {last.index}, not at {complete.index}")
            core.installed(last, before)
            # A tail the log may have kept behind it is not known to be the leader's.
            proven = last.index
            self.joining = False
            self._applier.installed(last)
            self._compaction.at = last.index
            # Which of the waiting proposals the snapshot holds cannot be known.
            self._proposals.fail(LeaderFailed, lambda waiting: waiting.term > 0)
        self._catchup.finished(member, frame.stream, installed=installed)
        holds = installed and not self._quarantine.active
        self._outgoing.later(member, AppendReply(core.term, proven + 1, reset=True, success=holds))
