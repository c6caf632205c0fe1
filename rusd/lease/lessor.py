"""The leader's loop over leases, and the way of a renewal from any member to the leader.

The keeper is the lease listener of the state machine and follows the roles Raft announces:
becoming leader starts every lease anew, losing the lead forgets all deadlines.
"""

import asyncio
import struct
import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Any, Protocol

from rusd.base import sliced
from rusd.base.errors import Refusal
from rusd.base.logs import get_logger
from rusd.base.pending import Pending
from rusd.lease.errors import LeaderTimeout, NoLeader
from rusd.lease.expiry import REVOKE_RATE, LeaseDeadlines
from rusd.proto import rpc_pb2 as rpc
from rusd.raft.interface import PeerCalls, Proposer, ReadIndex, Role
from rusd.state.command import Kind, LeaseExpiry, encode
from rusd.state.errors import LeaderChanged, LeaseNotFound
from rusd.state.leases import Leases

log = get_logger(__name__)

#: Seconds between two looks at the deadlines.
TICK = 0.5
#: Seconds between two lines in the log about leases whose end was refused.
REPORT_FAILURES = 5.0
#: Seconds between two attempts to reach the leader.
RETRY = 0.05
#: Seconds that one question to the leader may take before the leader is looked up again.
ATTEMPT = 2.0

_RENEW = "lease/renew"
_TIME_TO_LIVE = "lease/ttl"
_INT64 = struct.Struct(">q")
#: Answer of a member that turned out not to lead (a real answer is never empty).
_NOT_PRIMARY = b""


class Node(Role, Proposer, ReadIndex, PeerCalls, Protocol):
    """What is used of the Raft node."""


class Lessor:
    """Expires leases while this member leads; renews them wherever it is asked."""

    def __init__(
        self,
        node: Node,
        leases: Leases,
        election_timeout: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`election_timeout` in seconds; `clock` must be monotonic."""
        self._node = node
        self._leases = leases
        self._deadlines = LeaseDeadlines(leases)
        self._election_timeout = election_timeout
        self._clock = clock
        #: The term this member leads in.
        self._term = 0
        #: Ends of leases that could not be proposed since the last line about them in the log.
        self._failures = 0
        self._report_failures_at = clock()
        self._waiting: dict[int, list[asyncio.Future[None]]] = {}
        self._handlers: dict[str, Callable[[int, bytes], Awaitable[bytes]]] = {
            _RENEW: self._serve_renew,
            _TIME_TO_LIVE: self._serve_time_to_live,
        }
        for kind, handler in self._handlers.items():
            node.serve(kind, handler)

    async def run(self) -> None:
        """Look at the deadlines until cancelled."""
        while True:
            self.tick()
            await asyncio.sleep(TICK)

    def tick(self) -> None:
        """Propose the end of what ran out, at most half a second's worth."""
        for lease_id in self._deadlines.due(self._clock(), int(REVOKE_RATE * TICK)):
            payload = encode(Kind.LEASE_EXPIRE, LeaseExpiry(self._term, lease_id).encode())
            self._node.propose(payload).add_done_callback(self._note_outcome)

    # Questions of the API, on any member

    async def renew(self, lease_id: int) -> int:
        """`renew_all` of one."""
        return (await self.renew_all([lease_id]))[0]

    async def renew_all(self, lease_ids: Sequence[int]) -> list[int]:
        """Each lease's full TTL in seconds, or 0 if it does not exist (any more), in their order;
        one question to the leader, and one round to its quorum, for all of them.

        NoLeader, LeaderTimeout if no leader could be asked.
        """
        asked = b"".join(map(_INT64.pack, lease_ids))
        answer = await self._at_leader(_RENEW, asked)
        return [ttl for (ttl,) in _INT64.iter_unpack(answer)]

    async def time_to_live(self, request: rpc.LeaseTimeToLiveRequest) -> bytes:
        """LeaseTimeToLiveResponse without header, as the leader sees it; errors as `renew`."""
        return await self._at_leader(_TIME_TO_LIVE, request.SerializeToString())

    def ids_by_expiry(self) -> Generator[None, None, list[int]]:
        """All leases this member knows, the soonest to run out first (a follower knows no
        deadlines, so there the order is by id); found in slices."""
        now = self._clock()
        remaining = self._deadlines.remaining
        ids = [lease.id for lease in self._leases]
        timed: list[tuple[float, int]] = []
        for start in range(0, len(ids), sliced.SORTED):
            part = ids[start : start + sliced.SORTED]
            timed += [(remaining(lease_id, now), lease_id) for lease_id in part]
            if start + sliced.SORTED < len(ids):
                yield
        return [lease_id for _, lease_id in (yield from sliced.ordered(timed))]

    # The state machine's and Raft's side

    def granted(self, lease_id: int, ttl: int) -> None:
        self._deadlines.granted(lease_id, ttl, self._clock())

    def revoked(self, lease_id: int) -> None:
        self._deadlines.revoked(lease_id)
        for future in self._waiting.pop(lease_id, ()):
            if not future.done():
                future.set_result(None)

    def restored(self) -> None:
        if self._deadlines.primary:
            self._deadlines.promote(self._clock(), self._election_timeout)
        self._wake_all()

    def role_changed(self, leader_id: int, term: int, is_leader: bool) -> None:
        if is_leader:
            if not self._deadlines.primary or term != self._term:
                self._term = term
                self._deadlines.promote(self._clock(), self._election_timeout)
        elif self._deadlines.primary:
            self._deadlines.demote()
            self._wake_all()

    def _wake_all(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for futures in waiting.values():
            for future in futures:
                if not future.done():
                    future.set_result(None)

    # To the leader and back

    async def _at_leader(self, kind: str, body: bytes) -> bytes:
        started = self._clock()
        deadline = started + 5 + 2 * self._election_timeout
        while (now := self._clock()) < deadline:
            leader = self._node.leader_id
            if leader:
                answer = await self._attempt(leader, kind, body, min(ATTEMPT, deadline - now))
                if answer != _NOT_PRIMARY:
                    return answer
            elif now - started > self._election_timeout:
                raise NoLeader
            await asyncio.sleep(RETRY)
        raise LeaderTimeout

    async def _attempt(self, leader: int, kind: str, body: bytes, timeout: float) -> bytes:
        try:
            if leader == self._node.member_id:
                async with asyncio.timeout(timeout):
                    return await self._handlers[kind](leader, body)
            return await self._node.ask(leader, kind, body, timeout)
        except (Refusal, OSError, TimeoutError):
            # Whatever went wrong between here and the leader: look who leads and ask again.
            return _NOT_PRIMARY

    async def _confirm_lead(self) -> bool:
        """True if a quorum agrees that this member leads, with all that was committed applied."""
        if not self._deadlines.primary:
            return False
        try:
            await self._node.read_index()
        except Refusal:
            return False
        return self._deadlines.primary

    async def _serve_renew(self, sender: int, body: bytes) -> bytes:
        if not await self._confirm_lead():
            return _NOT_PRIMARY
        renewed = []
        for (lease_id,) in _INT64.iter_unpack(body):
            # The end of an expired lease may be in the log already: it must not be renewed.
            if self._deadlines.expired(lease_id, self._clock()) and not (
                await self._ended(lease_id) and await self._confirm_lead()
            ):
                return _NOT_PRIMARY
            renewed.append(_INT64.pack(self._deadlines.renew(lease_id, self._clock())))
        return b"".join(renewed)

    async def _ended(self, lease_id: int) -> bool:
        """Wait until an expired lease is revoked, or may be renewed since the leader changed; False
        after ATTEMPT seconds, since a CORRUPT alarm refuses every revocation."""
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(lease_id, []).append(ended)
        try:
            async with asyncio.timeout(ATTEMPT):
                await ended
        except TimeoutError:
            return False
        finally:
            waiting = self._waiting.get(lease_id, [])
            if ended in waiting:
                waiting.remove(ended)
            if not waiting:
                self._waiting.pop(lease_id, None)
        return True

    async def _serve_time_to_live(self, sender: int, body: bytes) -> bytes:
        if not await self._confirm_lead():
            return _NOT_PRIMARY
        request = rpc.LeaseTimeToLiveRequest.FromString(body)
        lease = self._leases.get(request.ID)
        if lease is None:
            return rpc.LeaseTimeToLiveResponse(ID=request.ID, TTL=-1).SerializeToString()
        remaining = self._deadlines.remaining(lease.id, self._clock())
        if remaining == float("inf"):
            remaining = lease.ttl  # granted by a long apply, which has not told of it yet
        answer = rpc.LeaseTimeToLiveResponse(
            ID=lease.id,
            TTL=int(remaining),
            grantedTTL=lease.ttl,
        ).SerializeToString()
        if not request.keys:
            return answer
        return answer + await sliced.run(_keys_field(list(lease.keys)))

    def _note_outcome(self, proposal: Pending[Any]) -> None:
        if proposal.cancelled():
            return
        failure = proposal.exception()
        if failure is None or isinstance(failure, LeaseNotFound | LeaderChanged):
            return
        self._failures += 1
        if self._clock() >= self._report_failures_at:
            # All leases that are due are proposed again and again, and fail for the same reason.
            fields = {"error": str(failure), "failures": self._failures}
            log.warning("failed to revoke leases", extra={"fields": fields})
            self._failures = 0
            self._report_failures_at = self._clock() + REPORT_FAILURES


def _keys_field(keys: list[bytes]) -> Generator[None, None, bytes]:
    """The keys of a LeaseTimeToLiveResponse (field 5), sorted, in slices."""
    keys = yield from sliced.ordered(keys)
    parts = []
    for start in range(0, len(keys), sliced.SORTED):
        part = rpc.LeaseTimeToLiveResponse(keys=keys[start : start + sliced.SORTED])
        parts.append(part.SerializeToString())
        yield
    return b"".join(parts)
