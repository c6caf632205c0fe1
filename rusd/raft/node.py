"""`RaftNode`: a Raft member as the rooms above call it.

What moves it on is in `turn.py`; here are the calls, each of which notes what is wanted, wakes the
next turn and hands out a future.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

from rusd.base.logs import get_logger
from rusd.base.pending import Pending
from rusd.raft.errors import (
    BadTransferee,
    NotLeader,
    Stopped,
    TooLarge,
    TooManyProposals,
    TransferTimeout,
)
from rusd.raft.ports import RoleListener
from rusd.raft.read.waiting import Read
from rusd.raft.transport.frames import MAX_CARRIED, TimeoutNow
from rusd.raft.transport.requests import Handler
from rusd.raft.turn import Turns

log = get_logger(__name__)

#: Committed but unapplied entries above which new proposals are refused (etcd's limit).
MAX_APPLY_LAG = 5000
#: Seconds that a stopping leader may take to hand leadership on.
HAND_ON = 1.0


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """What the leader knows of another member."""

    connected: bool
    match_index: int


class RaftNode(Turns):
    """One member of the cluster. All methods belong to the event loop's thread."""

    # Life

    async def start(self) -> None:
        """Listen for peers and begin. OSError if a peer port is taken."""
        self._begin()
        await self._peers.start(self.config.listen_peer_urls)
        self._run()

    async def stop(self) -> None:
        """Hand leadership on if there is somebody to take it (for a second at most), then end:
        everything that still waits fails with Stopped."""
        if self._stopped:
            return
        if not self._begun:  # it was only built
            self._stopped = True
            self._flusher.shutdown(wait=False)
            self._journal.close()
            return
        await self._hand_on()
        self._halt()
        if self._flushing is not None:
            await asyncio.wait({self._flushing})
        await self._peers.stop()
        await self._catchup.stop()
        if not self._failed.done():
            self._failed.cancel()
            self._journal.flush()
        self._flusher.shutdown(wait=False)
        self._journal.close()

    async def _hand_on(self) -> None:
        candidates = self._peers.connected() & self._core.membership.voters
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
        await self._failed

    # Calls

    @property
    def pending_proposals(self) -> int:
        return len(self._proposals.waiting)

    def on_role(self, listener: RoleListener) -> None:
        self._listeners.append(listener)

    def serve(self, kind: str, handler: Handler) -> None:
        """Answer other members' questions of this kind."""
        self._asks.serve(kind, handler)

    async def ask(self, member_id: int, kind: str, body: bytes, timeout: float) -> bytes:
        """Put a question to another member. Raises what `Asks.ask` raises."""
        if self._stopped:
            raise Stopped
        return await self._asks.ask(member_id, kind, body, self.clock.now() + timeout)

    def progress(self, member: int) -> float | None:
        """Which part of this leader's log a member holds; None for one that is not of it."""
        if member == self.member_id:
            return 1.0
        if member not in self._core.peers:
            return None
        return self._core.match_index(member) / self._journal.last_index

    def connected_since(self, member: int) -> float | None:
        """Loop time at which the connection to a member was made; None: there is none."""
        return self._peers.connected_since(member)

    def peer_status(self) -> dict[int, PeerStatus]:
        """Every other member, as this one sees it (match index: only on the leader)."""
        connected = self._peers.connected()
        return {
            member: PeerStatus(member in connected, self._core.match_index(member))
            for member in self._core.peers
        }

    def propose(self, payload: bytes) -> Pending[Any]:
        """Replicate `payload`; the machine's result once it is applied on this member.

        Fails with TooLarge (above MAX_CARRIED), TooManyProposals, Stopped, or RequestTimeout or
        LeaderFailed after `request_timeout` (then it may still be applied later).
        """
        answer: Pending[Any] = Pending()
        if self._stopped:
            answer.set_exception(Stopped())
        elif len(payload) > MAX_CARRIED:
            answer.set_exception(TooLarge())
        elif self._proposals.full() or self.commit_index - self.applied_index > MAX_APPLY_LAG:
            answer.set_exception(TooManyProposals())
        else:
            deadline = self.clock.now() + self.config.request_timeout
            self._proposals.add(payload, answer.give, deadline)
            self._wake()
        return answer

    def read_index(self) -> Pending[None]:
        """Resolves once everything that was acknowledged anywhere in the cluster before this call
        is applied on this member. Fails with Stopped, RequestTimeout or
        LeaderFailed."""
        answer: Pending[None] = Pending()
        if self._stopped:
            answer.set_exception(Stopped())
        else:
            deadline = self.clock.now() + self.config.request_timeout
            self._reading.add(Read(answer.give, deadline))
            self._wake()
        return answer

    async def transfer_leadership(self, target: int) -> None:
        """Make `target` the leader. Raises NotLeader, BadTransferee (not a voter),
        TransferTimeout."""
        if not self.is_leader:
            raise NotLeader
        if target == self.member_id:
            return
        if target not in self._core.membership.voters:
            raise BadTransferee
        deadline = self.clock.now() + self.config.request_timeout
        suspended = self.clock.now() + self.config.election
        term = self.term
        self._submission.paused = True
        try:
            asked = float("-inf")
            while self.term == term or self.leader_id == 0:
                now = self.clock.now()
                if now > deadline:
                    raise TransferTimeout
                if now > suspended:
                    self._submission.paused = False  # clients have waited long enough
                ready = self._core.match_index(target) == self._journal.last_index
                if self.is_leader and ready and now - asked > self.config.election:
                    asked = now
                    self._send(target, TimeoutNow(term))
                self._wake()
                await asyncio.sleep(0.005)
        finally:
            self._submission.paused = False
            self._wake()
        if self.leader_id != target:
            # Another member won the election. (etcd waits for the target until its timeout.)
            raise TransferTimeout
