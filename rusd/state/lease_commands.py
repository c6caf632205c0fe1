"""Commands on leases: grant, revoke, expire, checkpoint."""

from rusd.auth.records import Identity
from rusd.mvcc.store import Writer
from rusd.proto import rpc_pb2 as rpc
from rusd.state.alarms import Alarms
from rusd.state.command import Kind, LeaseExpiry
from rusd.state.context import ApplyContext, Handler, Work
from rusd.state.errors import LeaderChanged
from rusd.state.leases import Leases
from rusd.state.permissions import Check, Permissions
from rusd.state.result import Applied
from rusd.state.write_txn import WriteTxn
from rusd.wire import kv_response

#: Keys of a revoked lease whose memory is released in one slice.
_KEYS_FREED_PER_SLICE = 5000


class LeaseCommands:
    """Handlers of the commands that change leases."""

    def __init__(
        self, leases: Leases, alarms: Alarms, permissions: Permissions, context: ApplyContext
    ) -> None:
        self._leases = leases
        self._alarms = alarms
        self._permissions = permissions
        self._context = context

    def handlers(self) -> dict[int, Handler]:
        """Return the handlers by kind of command."""
        corrupt = self._alarms.refuse_if_corrupt
        return {
            Kind.LEASE_GRANT: Handler(
                rpc.LeaseGrantRequest.FromString, self._grant, refuse=self._alarms.refuse_growth
            ),
            Kind.LEASE_REVOKE: Handler(
                rpc.LeaseRevokeRequest.FromString, self._revoke, self._permit_revoke, corrupt
            ),
            Kind.LEASE_EXPIRE: Handler(LeaseExpiry.decode, self._expire, refuse=corrupt),
            Kind.LEASE_CHECKPOINT: Handler(rpc.LeaseCheckpointRequest.FromString, self._checkpoint),
        }

    def _permit_revoke(self, identity: Identity, request: rpc.LeaseRevokeRequest) -> Check:
        return self._permissions.lease_writes(identity, request.ID)

    def _grant(self, writer: Writer, request: rpc.LeaseGrantRequest, wanted: bool) -> Applied:
        lease = self._leases.grant(writer.batch, request.ID, request.TTL)
        self._context.after_commit(lambda listeners: listeners.leases.granted(lease.id, lease.ttl))
        return Applied(writer.revision, kv_response.lease_grant_response(lease.id, lease.ttl))

    def _revoke(self, writer: Writer, request: rpc.LeaseRevokeRequest, wanted: bool) -> Work:
        return self._end(writer, request.ID)

    def _expire(self, writer: Writer, request: LeaseExpiry, wanted: bool) -> Work:
        if request.term != self._context.term:
            raise LeaderChanged
        return self._end(writer, request.lease_id)

    def _end(self, writer: Writer, lease_id: int) -> Work:
        lease = self._leases.require(lease_id)
        write_txn = WriteTxn(writer, self._leases, wanted=False)
        yield from write_txn.end_lease(lease)
        revision = write_txn.end()
        self._leases.remove(writer.batch, lease)
        self._context.after_commit(lambda listeners: listeners.leases.revoked(lease_id))
        # Freeing the set of a million keys at once takes longer than a slice.
        while lease.keys:
            for _ in range(min(_KEYS_FREED_PER_SLICE, len(lease.keys))):
                lease.keys.popitem()
            yield
        return Applied(revision, b"")

    def _checkpoint(
        self, writer: Writer, request: rpc.LeaseCheckpointRequest, wanted: bool
    ) -> Applied:
        for one in request.checkpoints:
            self._leases.checkpoint(writer.batch, one.ID, one.remaining_TTL)
        return Applied(writer.revision, b"")
