"""`RaftNode`: one Raft member as the rooms above call it.

Each call notes in the core what is wanted, wakes the driver's next turn and returns a `Pending`,
which is resolved from a turn. Nothing of Raft is decided here.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rusd.base.logs import get_logger
from rusd.base.pending import Pending
from rusd.raft.commands import STAND_IN
from rusd.raft.config import RaftConfig
from rusd.raft.core.clock import Clock
from rusd.raft.driver import Driver
from rusd.raft.errors import (
    BadTransferee,
    NotLeader,
    Stopped,
    TooLarge,
    TooManyProposals,
    TooManyReads,
)
from rusd.raft.ports import Describe, LogEntry, Machine, Membership, RoleListener, undescribed
from rusd.raft.statistics import Statistics
from rusd.raft.transport.frames import MAX_CARRIED
from rusd.raft.transport.requests import Handler

log = get_logger(__name__)

#: Seconds that a stopping leader may take to hand leadership on.
HAND_ON = 1.0


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """State of another member, as this one knows it."""

    connected: bool
    #: Highest index known to be on the other's disk (only on the leader, else 0).
    match_index: int


class RaftNode:
    """One member of the cluster. All methods belong to the event loop's thread."""

    #: Runs the core; another one in the simulation.
    driver_type = Driver

    def __init__(
        self, config: RaftConfig, machine: Machine, describe: Describe = undescribed
    ) -> None:
        """Opens the journal. Raises JournalLocked or JournalCorrupt. `describe`: for the errors of
        handlers (`serve`).
        """
        self.config = config
        self.member_id = config.member_id
        self.driver = self.driver_type(config, machine, describe)
        self._core = self.driver.core
        self._clock = self.driver.clock
        self._request_timeout = config.request_timeout

    # Life

    async def start(self) -> None:
        """Listen for peers and begin. OSError if a peer port is taken."""
        await self.driver.start()

    async def stop(self) -> None:
        """Transfer leadership if another voter is available (for at most one second), then stop:
        all waiting calls fail with Stopped.

        Also after a failure, which only `wait_failed` raises. Releases everything even if a step
        raises, then raises that error.
        """
        try:
            if self.driver.begun and not self.driver.stopped:
                await self._hand_on()
        finally:
            await self.driver.stop()

    def close(self) -> None:
        """Release the journal, after `stop` or without a `start`."""
        self.driver.close()

    async def _hand_on(self) -> None:
        candidates = self.driver.peers.connected() & self._core.membership.voters
        if not self.is_leader or not candidates:
            return
        best = max(sorted(candidates), key=self._core.match_index)
        try:
            async with asyncio.timeout(HAND_ON):
                await self.transfer_leadership(best)
        except Exception as error:  # noqa: BLE001
            # Logged: a member stops whether or not leadership moved.
            log.info("leadership was not handed on", extra={"fields": {"error": str(error)}})

    async def wait_failed(self) -> None:
        """Raises what broke this node; the process must end then."""
        await self.driver.wait_failed()

    # State

    @property
    def clock(self) -> Clock:
        """Clock of all timeouts of this member."""
        return self.driver.clock

    @property
    def leader_id(self) -> int:
        """Member id of the leader, 0 if none is known."""
        return self._core.leader

    @property
    def settled(self) -> bool:
        """Whether all that was received and committed is applied and flushed, and the log does not
        say that this member was removed.
        """
        return self.driver.settled

    @property
    def term(self) -> int:
        """The current term."""
        return self._core.term

    @property
    def is_leader(self) -> bool:
        """Whether this member leads the current term."""
        return self._core.is_leader

    @property
    def is_learner(self) -> bool:
        """Whether this member is sent the log and does not vote."""
        return self.member_id in self._core.membership.learners

    @property
    def commit_index(self) -> int:
        """Highest index known to be committed."""
        return self._core.commit_index

    @property
    def applied_index(self) -> int:
        """Highest index the state machine has applied."""
        return self._core.applied_index

    @property
    def pending_proposals(self) -> int:
        """Number of proposals of this member that wait for their result."""
        return self._core.waiting_proposals

    def committed(self, after: int, most: int, size: int) -> Sequence[LogEntry] | None:
        """Return applied entries behind index `after`: `most` of them, or as many as have `size`
        bytes, at most, but one if there is one. None if the log does not hold the first one any
        more.
        """
        journal, end = self.driver.journal, min(self.applied_index, after + most) + 1
        if end <= after + 1:
            return ()
        if not journal.first_index <= after + 1 <= journal.last_index:
            return None
        found = journal.entries(after + 1, end)
        for count, (command, _, _) in enumerate(found):
            if command == STAND_IN:
                return found[:count] or None
            size -= len(command)
            if size < 0 and count:
                return found[:count]
        return found

    def progress(self, member: int) -> float | None:
        """Returns which part of this leader's log a member holds (0 to 1), or None if it is no
        member.
        """
        if member == self.member_id:
            return 1.0
        if member not in self._core.peers:
            return None
        return self._core.match_index(member) / self.driver.journal.last_index

    def connected_since(self, member: int) -> float | None:
        """Returns the loop time at which the connection to a member was made, or None if there is
        none.
        """
        return self.driver.peers.connected_since(member)

    def peer_status(self) -> dict[int, PeerStatus]:
        """Returns the status of every other member."""
        connected = self.driver.peers.connected()
        return {
            member: PeerStatus(member in connected, self._core.match_index(member))
            for member in self._core.peers
        }

    def can_apply(self, features: int) -> bool:
        """Returns whether every member's release, as last reported in its hello to this one,
        applies the proposals of `features`. A member that this one has never met does not count: in
        a new cluster they are still connecting.
        """
        said = (self.driver.handshake.features(member) for member in self._core.peers)
        return all(known is None or known >= features for known in said)

    def statistics(self) -> Statistics:
        """Return this member's counts since its start."""
        core, segments = self._core, self.driver.journal.segments
        return Statistics(
            fsync_seconds=segments.fsync_seconds,
            write_seconds=segments.write_seconds,
            written_bytes=segments.written_bytes,
            proposals_failed=core.proposals_failed,
            reads_failed=core.reads.failed,
            reads_repeated=core.reads.repeated,
            slow_applies=self.driver.apply.slow,
            late_heartbeats=self.driver.late_heartbeats,
            traffic=self.driver.peers.traffic,
            snapshots_sent=self.driver.streams.transfers,
            snapshots_received=self.driver.incoming.transfers,
        )

    # Events

    def on_role(self, listener: RoleListener) -> None:
        """Call `listener` after leader or term changed."""
        self.driver.listeners.append(listener)

    @property
    def on_removed(self) -> Callable[[], None]:
        """Called once, when this member learns that it was removed from the cluster."""
        return self.driver.on_removed

    @on_removed.setter
    def on_removed(self, listener: Callable[[], None]) -> None:
        self.driver.on_removed = listener

    @property
    def on_said_removed(self) -> Callable[[], None]:
        """Called when another member reports that this one was removed. That is no proof."""
        return self.driver.on_said_removed

    @on_said_removed.setter
    def on_said_removed(self, listener: Callable[[], None]) -> None:
        self.driver.on_said_removed = listener

    @property
    def on_bootstrapped(self) -> Callable[[], None]:
        """Called when peers know that this member, which has no data, had data before."""
        return self.driver.handshake.on_bootstrapped

    @on_bootstrapped.setter
    def on_bootstrapped(self, listener: Callable[[], None]) -> None:
        self.driver.handshake.on_bootstrapped = listener

    # Requests between members

    def serve(self, kind: str, handler: Handler) -> None:
        """Answer other members' requests of this kind."""
        self.driver.requests.serve(kind, handler)

    async def ask(self, member_id: int, kind: str, body: bytes, timeout: float) -> bytes:
        """Send a request to another member and return its response. Raises the other member's
        error, a timeout or Stopped.
        """
        if self.driver.stopped:
            raise Stopped
        deadline = self.clock.now() + timeout
        return await self.driver.requests.ask(member_id, kind, body, deadline)

    # Raft

    def propose(self, payload: bytes) -> Pending[Any]:
        """Replicate `payload`; resolves with the state machine's result once it is applied on this
        member.

        Fails with TooLarge (above MAX_CARRIED), TooManyProposals, Stopped, or RequestTimeout /
        LeaderFailed after `request_timeout` (then it may still be applied later).
        """
        answer: Pending[Any] = Pending()
        if self.driver.stopped:
            answer.set_exception(Stopped())
        elif len(payload) > MAX_CARRIED:
            answer.set_exception(TooLarge())
        elif self._core.overloaded():
            answer.set_exception(TooManyProposals())
        else:
            deadline = self._clock.latest + self._request_timeout
            self._core.propose(payload, answer.give, deadline)
            self.driver.wake()
        return answer

    def read_index(self) -> Pending[None]:
        """Resolves once everything that was acknowledged anywhere in the cluster before this call
        is applied on this member. Fails with TooManyReads, Stopped, RequestTimeout or
        LeaderFailed.
        """
        answer: Pending[None] = Pending()
        if self.driver.stopped:
            answer.set_exception(Stopped())
        elif self._core.read(answer.give, self._clock.latest + self._request_timeout):
            self.driver.wake()
        else:
            answer.set_exception(TooManyReads())
        return answer

    async def transfer_leadership(self, target: int) -> None:
        """Make `target` the leader. Raises NotLeader, BadTransferee (no voter), TransferTimeout,
        Stopped.
        """
        if not self.is_leader:
            raise NotLeader
        if target == self.member_id:
            return
        if target not in self._core.membership.voters:
            raise BadTransferee
        answer: Pending[None] = Pending()
        transfer = self._core.transfer(target, answer.give, self.clock.now())
        self.driver.wake()
        try:
            await answer
        finally:
            del answer  # it holds its exception, which holds this frame: a cycle
            self._core.abandon_transfer(transfer)
            self.driver.wake()

    # Membership

    def reconfigure(self, membership: Membership) -> None:
        """Use the membership that the machine applied; called within `Machine.begin` or
        `Machine.restore`, so that it is in force for the next entry.
        """
        self._core.apply_membership(membership)
        self.driver.wake()

    def meet(self, membership: Membership, index: int = 0) -> None:
        """Take the member list that peers answered, for a member without a leader.

        It is not older than entry `index`.
        """
        self._core.meet(membership, index)
        self.driver.wake()
