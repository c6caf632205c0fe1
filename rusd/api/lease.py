"""etcdserverpb.Lease: grants and revocations are proposed; renewals and remaining times are asked
of the leader (`rusd/lease/lessor.py`), from every member.
"""

import asyncio
from collections.abc import Generator
from typing import Protocol

from rusd.auth.records import Identity
from rusd.base import sliced
from rusd.base.chunks import Encoded, concatenated
from rusd.base.errors import Refusal
from rusd.base.logs import get_logger
from rusd.lease.ids import LeaseIds
from rusd.lease.lessor import Lessor
from rusd.proto import rpc_pb2 as rpc
from rusd.raft.interface import Proposer
from rusd.rpc.authentication import Authenticator
from rusd.rpc.call import Call
from rusd.rpc.errors import STOPPED, TOO_MANY_REQUESTS
from rusd.rpc.methods import BidiStream, Methods, Unary
from rusd.rpc.responses import Response
from rusd.rpc.signing import signed
from rusd.rpc.streams import ResponseStream, StreamHandler
from rusd.state.command import Kind, encode
from rusd.state.interface import WithKeys, WithLeases, WithPermissions
from rusd.state.result import Applied
from rusd.wire.header import Headers

log = get_logger(__name__)

#: Renewals of one stream that may wait; the stream of a client that sends more is ended.
MAX_WAITING_RENEWALS = 10_000


class Machine(WithKeys, WithLeases, WithPermissions, Protocol):
    """The part of the state machine in use."""


class LeaseService:
    """etcdserverpb.Lease."""

    def __init__(
        self,
        node: Proposer,
        machine: Machine,
        headers: Headers,
        lessor: Lessor,
        authenticator: Authenticator,
        ids: LeaseIds,
        min_ttl: int,
    ) -> None:
        """`min_ttl`: seconds; shorter TTLs are raised to it (see `minimum_ttl`)."""
        self._node = node
        self._machine = machine
        self._headers = headers
        self._lessor = lessor
        self._authenticator = authenticator
        self._ids = ids
        self._min_ttl = min_ttl

    def methods(self) -> Methods:
        """gRPC path -> method."""
        return {
            "/etcdserverpb.Lease/LeaseGrant": Unary(rpc.LeaseGrantRequest, self.grant),
            "/etcdserverpb.Lease/LeaseRevoke": Unary(rpc.LeaseRevokeRequest, self.revoke),
            "/etcdserverpb.Lease/LeaseKeepAlive": BidiStream(
                rpc.LeaseKeepAliveRequest, self.keep_alive
            ),
            "/etcdserverpb.Lease/LeaseTimeToLive": Unary(
                rpc.LeaseTimeToLiveRequest, self.time_to_live
            ),
            "/etcdserverpb.Lease/LeaseLeases": Unary(rpc.LeaseLeasesRequest, self.leases),
        }

    def grant(self, request: rpc.LeaseGrantRequest, call: Call) -> Response:
        """Proposes a grant. Id and TTL are chosen before, so that all members apply the same."""
        complete = rpc.LeaseGrantRequest(
            ID=request.ID or self._ids.next(), TTL=max(request.TTL, self._min_ttl)
        )
        return self._propose(Kind.LEASE_GRANT, complete.SerializeToString(), call)

    def revoke(self, request: rpc.LeaseRevokeRequest, call: Call) -> Response:
        """Proposes a revocation, which deletes the attached keys at one revision."""
        return self._propose(Kind.LEASE_REVOKE, request.SerializeToString(), call)

    def keep_alive(self, call: Call, responses: ResponseStream) -> StreamHandler:
        """Opens a stream of renewals, answered in order."""
        return KeepAlive(
            self._machine, self._headers, self._lessor, self._authenticator, call, responses
        )

    async def time_to_live(self, request: rpc.LeaseTimeToLiveRequest, call: Call) -> bytes:
        """Asks the leader for the remaining time of a lease; -1 if it does not exist."""
        machine, revision = self._machine, self._machine.auth.revision
        if machine.auth.enabled and request.keys:
            await sliced.run(machine.permissions.lease_reads(call.identity, request.ID))
        body = await self._lessor.time_to_live(request)
        if request.keys:
            if machine.auth.enabled and not machine.auth.is_root(call.identity):
                # The leader may know keys of the lease that this member has not applied.
                await sliced.run(machine.permissions.reads(call.identity, _keys_of(body)))
            machine.auth.check_unchanged(revision)
        return self._headers.field(self._machine.store.revision) + body

    async def leases(self, request: rpc.LeaseLeasesRequest, call: Call) -> bytes:
        """Lists the leases of the local state, without a read index, as in etcd."""
        if self._machine.auth.enabled:
            await sliced.run(self._permitted(call.identity))
        header = self._headers.field(self._machine.store.revision)
        return header + await sliced.run(self._listed())

    def _permitted(self, identity: Identity) -> Generator[None, None, None]:
        revision = self._machine.auth.revision
        for lease in list(self._machine.leases):
            yield from self._machine.permissions.lease_reads(identity, lease.id)
        self._machine.auth.check_unchanged(revision)

    def _listed(self) -> Generator[None, None, bytes]:
        ids = yield from self._lessor.ids_by_expiry()
        parts = []
        for start in range(0, len(ids), sliced.SORTED):
            part = ids[start : start + sliced.SORTED]
            statuses = [rpc.LeaseStatus(ID=lease_id) for lease_id in part]
            parts.append(rpc.LeaseLeasesResponse(leases=statuses).SerializeToString())
            if start + sliced.SORTED < len(ids):
                yield
        return b"".join(parts)

    def _propose(self, kind: Kind, body: bytes, call: Call) -> Response:
        return self._node.propose(signed(call, encode(kind, body))).then(self._answer)

    def _answer(self, applied: Applied) -> Encoded:
        return concatenated(self._headers.field(applied.revision), applied.body)


def _keys_of(body: bytes) -> list[bytes]:
    return list(rpc.LeaseTimeToLiveResponse.FromString(body).keys)


class KeepAlive:
    """One open stream of renewals (a `StreamHandler`).

    A leader that a quorum confirmed a moment ago answers at once. Otherwise a task runs while
    renewals wait; those that arrive during a round trip to the leader are batched into the next
    one.
    """

    def __init__(
        self,
        machine: Machine,
        headers: Headers,
        lessor: Lessor,
        authenticator: Authenticator,
        call: Call,
        responses: ResponseStream,
    ) -> None:
        self._machine = machine
        self._headers = headers
        self._lessor = lessor
        self._authenticator = authenticator
        self._call = call
        self._responses = responses
        self._waiting: list[int] = []
        self._room = asyncio.Event()
        self._work: asyncio.Task[None] | None = None
        self._half_closed = False

    def received(self, request: rpc.LeaseKeepAliveRequest) -> None:
        lease_id = request.ID
        if self._work is None and not self._authenticator.enabled:
            header = self._header()
            ttl = self._lessor.renew_at_once(lease_id)
            if ttl is not None:
                self._respond(header, lease_id, ttl)
                return
        if len(self._waiting) >= MAX_WAITING_RENEWALS:
            self._responses.finish(TOO_MANY_REQUESTS())
            return
        self._waiting.append(lease_id)
        if self._work is None:
            self._work = asyncio.get_running_loop().create_task(self._renew_waiting())

    def half_closed(self) -> None:
        self._half_closed = True
        if self._work is None:
            self._responses.finish()

    def drained(self) -> None:
        self._room.set()

    def closed(self) -> None:
        self._waiting.clear()
        # (It will hold its exception, whose frames hold this object: a cycle.)
        work, self._work = self._work, None
        if work is not None:
            work.cancel()

    async def _renew_waiting(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                await self._renew(batch)
        except Refusal as error:
            self._responses.finish(error)
            return
        except Exception:
            log.exception("keep-alive stream failed")
            self._responses.finish(STOPPED())
            return
        self._work = None
        if self._half_closed:
            self._responses.finish()

    async def _renew(self, batch: list[int]) -> None:
        if self._authenticator.enabled:
            await self._permit(batch)
        header = self._header()
        ttls = await self._lessor.renew_all(batch)
        for lease_id, ttl in zip(batch, ttls, strict=True):
            while not self._responses.ready():
                self._room.clear()
                await self._room.wait()
            self._respond(header, lease_id, ttl)

    def _header(self) -> bytes:
        """Return the header of a response: made before the renewal, since with a newer revision a
        client could see a lease renewed at a revision at which it was already revoked.
        """
        return self._headers.field(self._machine.store.revision)

    def _respond(self, header: bytes, lease_id: int, ttl: int) -> None:
        body = rpc.LeaseKeepAliveResponse(ID=lease_id, TTL=ttl).SerializeToString()
        self._responses.send(header + body)

    async def _permit(self, batch: list[int]) -> None:
        """The caller must be identified, and may renew a lease whose keys it may all write."""
        found = self._authenticator.identify(self._call)
        identity = found if isinstance(found, Identity) else await found
        self._call.identity = identity
        machine, revision = self._machine, self._machine.auth.revision
        machine.auth.check_identified(identity)
        for lease_id in batch:
            await sliced.run(machine.permissions.lease_writes(identity, lease_id))
        machine.auth.check_unchanged(revision)


def minimum_ttl(election_timeout: float) -> int:
    """Returns the shortest TTL granted, in seconds: one and a half election timeouts, rounded up,
    so that a leader election alone does not expire a lease. `election_timeout` in seconds.
    """
    return -int(-election_timeout * 1.5 // 1)
