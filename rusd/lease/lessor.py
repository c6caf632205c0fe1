"""The lessor: expires leases on the leader, and renews them from any member.

It is the lease listener of the state machine and follows the roles that Raft reports: a new leader
starts every lease anew, a member that lost leadership drops all deadlines.
"""

import asyncio
import struct
import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Any

from rusd.base import sliced
from rusd.base.errors import Refusal
from rusd.base.logs import get_logger
from rusd.base.pending import Pending
from rusd.lease.counts import Counts
from rusd.lease.errors import LeaderTimeout, NoLeader
from rusd.lease.expiry import REVOKE_RATE, LeaseDeadlines
from rusd.lease.ports import Node
from rusd.proto import rpc_pb2 as rpc
from rusd.raft.bodies import decoded_answer, decoded_question
from rusd.raft.errors import MalformedAnswer
from rusd.state.command import Kind, LeaseExpiry, encode
from rusd.state.errors import LeaderChanged, LeaseNotFound
from rusd.state.leases import Leases

log = get_logger(__name__)

#: Seconds between two checks of the deadlines.
TICK = 0.5
#: Seconds between two log lines about refused expiries.
REPORT_FAILURES = 5.0
#: Seconds between two attempts to reach the leader.
RETRY = 0.05
#: Seconds after which a leader that does not answer, or that no quorum confirms, is determined
#: again.
ATTEMPT = 2.0
#: Part of an election timeout for which a confirmation by a quorum counts for renewals. A leader
#: elected behind it adds a whole election timeout to every lease, so that each keeps the time that
#: this leader still promises.
CONFIRMED_PART = 0.1

_RENEW = "lease/renew"
_TIME_TO_LIVE = "lease/ttl"
_INT64 = struct.Struct(">q")
#: Response of a member that does not lead (a real response is never empty).
_NOT_PRIMARY = b""


class Lessor:
    """Expires leases while this member leads; renews them on any member."""

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
        #: The term in which this member leads.
        self._term = 0
        #: Until when renewals need no further confirmation by a quorum.
        self._confirmed_until = float("-inf")
        #: Expiries that were refused since the last log line about them.
        self._failures = 0
        self._report_failures_at = clock()
        self.counts = Counts()
        self._waiting: dict[int, list[asyncio.Future[None]]] = {}
        self._handlers: dict[str, Callable[[int, bytes], Awaitable[bytes]]] = {
            _RENEW: self._serve_renew,
            _TIME_TO_LIVE: self._serve_time_to_live,
        }
        for kind, handler in self._handlers.items():
            node.serve(kind, handler)

    async def run(self) -> None:
        """Check the deadlines every TICK until cancelled."""
        while True:
            await sliced.run(self.tick())
            await asyncio.sleep(TICK)

    def tick(self) -> Generator[None, None, None]:
        """Propose the expiry of due leases, REVOKE_RATE * TICK at most, in slices."""
        due = yield from self._deadlines.due(self._clock(), int(REVOKE_RATE * TICK))
        for lease_id in due:
            payload = encode(Kind.LEASE_EXPIRE, LeaseExpiry(self._term, lease_id).encode())
            self._node.propose(payload).add_done_callback(self._note_outcome)

    # For the API, on any member

    def renew_at_once(self, lease_id: int) -> int | None:
        """Renew a lease, and return its TTL in seconds, if this member leads and that needs no
        wait; None otherwise (see `renew_all`).

        The member must have applied all that is committed: a revocation may be part of it.
        """
        node, now = self._node, self._clock()
        if now >= self._confirmed_until or node.applied_index < node.commit_index:
            return None
        return self._renewed(lease_id, now) or None

    async def renew(self, lease_id: int) -> int:
        """Renew one lease, as `renew_all`."""
        return (await self.renew_all([lease_id]))[0]

    async def renew_all(self, lease_ids: Sequence[int]) -> list[int]:
        """Renew leases; returns the TTL in seconds of each, or 0 if it does not exist, in order.

        One request to the leader, and one read index there at most, for all of them.

        Raises NoLeader or LeaderTimeout if no leader responds, MalformedAnswer.
        """
        asked = b"".join(map(_INT64.pack, lease_ids))
        answer = await self._at_leader(_RENEW, asked, ATTEMPT)
        ttls = decoded_answer(_int64s, answer)
        if len(ttls) != len(lease_ids):
            raise MalformedAnswer
        return ttls

    async def time_to_live(self, request: rpc.LeaseTimeToLiveRequest) -> bytes:
        """Returns a LeaseTimeToLiveResponse without header from the leader. Raises as `renew`."""
        # Sorting a million keys takes longer than an attempt, and would only begin again.
        patience = float("inf") if request.keys else ATTEMPT
        return await self._at_leader(_TIME_TO_LIVE, request.SerializeToString(), patience)

    def ids_by_expiry(self) -> Generator[None, None, list[int]]:
        """Returns the ids of all leases in order of expiry, in slices.

        A follower knows no deadlines, so its order is by id.
        """
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

    # For the state machine (LeaseListener) and Raft

    def granted(self, lease_id: int, ttl: int) -> None:
        self.counts.granted += 1
        self.counts.ttls.observe(ttl)
        self._deadlines.granted(lease_id, ttl, self._clock())

    def revoked(self, lease_id: int) -> None:
        self.counts.revoked += 1
        self._deadlines.revoked(lease_id)
        for future in self._waiting.pop(lease_id, ()):
            if not future.done():
                future.set_result(None)

    def restored(self) -> None:
        if self._deadlines.primary:
            self._deadlines.promote(self._clock(), self._election_timeout)
        self._wake_all()

    def role_changed(self, leader_id: int, term: int, is_leader: bool) -> None:
        """Start the deadlines when this member becomes leader; forget them when it stops
        leading.
        """
        self._confirmed_until = float("-inf")
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

    # Requests to the leader

    async def _at_leader(self, kind: str, body: bytes, patience: float) -> bytes:
        """Returns the leader's answer; `patience`: seconds to wait for another member's."""
        started = self._clock()
        deadline = started + 5 + 2 * self._election_timeout
        while (now := self._clock()) < deadline:
            leader = self._node.leader_id
            if leader:
                answer = await self._attempt(leader, kind, body, min(patience, deadline - now))
                if answer != _NOT_PRIMARY:
                    return answer
            elif now - started > self._election_timeout:
                raise NoLeader
            await asyncio.sleep(RETRY)
        raise LeaderTimeout

    async def _attempt(self, leader: int, kind: str, body: bytes, timeout: float) -> bytes:
        try:
            if leader == self._node.member_id:
                # Each of its waits has its own limit; answering has none, as in etcd.
                return await self._handlers[kind](leader, body)
            return await self._node.ask(leader, kind, body, timeout)
        except (Refusal, OSError, TimeoutError):
            # The leader may have changed: determine it again.
            return _NOT_PRIMARY

    async def _confirm_lead(self) -> bool:
        """Returns True if a quorum confirms that this member leads and every entry committed before
        is applied.
        """
        if not self._deadlines.primary:
            return False
        asked, term = self._clock(), self._term
        try:
            async with asyncio.timeout(ATTEMPT):
                await self._node.read_index()
        except (Refusal, TimeoutError):
            return False
        if self._deadlines.primary and self._term == term:
            self._confirmed_until = asked + CONFIRMED_PART * self._election_timeout
        return self._deadlines.primary

    async def _serve_renew(self, sender: int, body: bytes) -> bytes:
        confirmed = False
        renewed = []
        for lease_id in decoded_question(_int64s, body):
            ttl = self.renew_at_once(lease_id)
            if ttl is None:
                confirmed = confirmed or await self._confirm_lead()
                if not confirmed:
                    return _NOT_PRIMARY
                # The expiry of the lease may be in the log already: it must not be renewed.
                if self._deadlines.expired(lease_id, self._clock()) and not (
                    await self._ended(lease_id) and await self._confirm_lead()
                ):
                    return _NOT_PRIMARY
                ttl = self._renewed(lease_id, self._clock())
            renewed.append(_INT64.pack(ttl))
        return b"".join(renewed)

    def _renewed(self, lease_id: int, now: float) -> int:
        ttl = self._deadlines.renew(lease_id, now)
        if ttl:
            self.counts.renewed += 1
            self.counts.ttls.observe(ttl)
        return ttl

    async def _ended(self, lease_id: int) -> bool:
        """Wait until an expired lease is revoked, or may be renewed since the leader changed; False
        after ATTEMPT seconds, since a CORRUPT alarm refuses every revocation.
        """
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
        request = decoded_question(rpc.LeaseTimeToLiveRequest.FromString, body)
        if not await self._confirm_lead():
            return _NOT_PRIMARY
        lease = self._leases.get(request.ID)
        if lease is None:
            return rpc.LeaseTimeToLiveResponse(ID=request.ID, TTL=-1).SerializeToString()
        remaining = self._deadlines.remaining(lease.id, self._clock())
        if remaining == float("inf"):
            remaining = lease.ttl  # granted by a long apply, which has not reported it yet
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
        if failure is None:
            self.counts.expired += 1
            return
        if isinstance(failure, LeaseNotFound | LeaderChanged):
            return
        self._failures += 1
        if self._clock() >= self._report_failures_at:
            # All due leases are proposed repeatedly and fail for the same reason.
            fields = {"error": str(failure), "failures": self._failures}
            log.warning("failed to revoke leases", extra={"fields": fields})
            self._failures = 0
            self._report_failures_at = self._clock() + REPORT_FAILURES


def _int64s(body: bytes) -> list[int]:
    return [number for (number,) in _INT64.iter_unpack(body)]


def _keys_field(keys: list[bytes]) -> Generator[None, None, bytes]:
    """Returns the encoded `keys` (field 5) of a LeaseTimeToLiveResponse, sorted, in slices."""
    keys = yield from sliced.ordered(keys)
    parts = []
    for start in range(0, len(keys), sliced.SORTED):
        part = rpc.LeaseTimeToLiveResponse(keys=keys[start : start + sliced.SORTED])
        parts.append(part.SerializeToString())
        yield
    return b"".join(parts)
