"""Commands on keys: put, range deletion, txn, compaction."""

from rusd.mvcc.store import Writer
from rusd.proto import rpc_pb2 as rpc
from rusd.proto.nested_txn import txn_request
from rusd.state import txn
from rusd.state.alarms import Alarms
from rusd.state.command import Kind
from rusd.state.context import ApplyContext, Handler, Work
from rusd.state.cost import txn_cost
from rusd.state.errors import NoSpace
from rusd.state.leases import Leases
from rusd.state.permissions import Permissions
from rusd.state.result import Applied
from rusd.state.write_txn import WriteTxn, put_alone
from rusd.wire import kv_response


class KeyCommands:
    """Handlers of the commands that change or compact keys."""

    def __init__(
        self, leases: Leases, alarms: Alarms, permissions: Permissions, context: ApplyContext
    ) -> None:
        self._leases = leases
        self._alarms = alarms
        self._permissions = permissions
        self._context = context

    def handlers(self) -> dict[int, Handler]:
        """Return the handlers by kind of command."""
        permit, alarms = self._permissions, self._alarms
        delete, compact = rpc.DeleteRangeRequest.FromString, rpc.CompactionRequest.FromString
        corrupt = alarms.refuse_if_corrupt
        return {
            Kind.PUT: Handler(
                rpc.PutRequest.FromString, self._put, permit.put, alarms.refuse_growth
            ),
            Kind.DELETE_RANGE: Handler(delete, self._delete_range, permit.delete_range, corrupt),
            Kind.TXN: Handler(txn_request, self._txn, permit.txn, self._refuse_txn),
            Kind.COMPACT: Handler(compact, self._compact, refuse=corrupt),
        }

    def _put(self, writer: Writer, request: rpc.PutRequest, wanted: bool) -> Applied:
        body = put_alone(writer, self._leases, request, wanted)
        return Applied(writer.revision, body)

    def _delete_range(
        self, writer: Writer, request: rpc.DeleteRangeRequest, wanted: bool
    ) -> Applied | Work:
        if not request.range_end:
            return self._delete_one(writer, request, wanted)
        return self._delete_interval(writer, request, wanted)

    def _delete_interval(
        self, writer: Writer, request: rpc.DeleteRangeRequest, wanted: bool
    ) -> Work:
        write_txn = WriteTxn(writer, self._leases, wanted)
        body = yield from write_txn.delete_range(request)
        return Applied(write_txn.end(), body)

    def _delete_one(self, writer: Writer, request: rpc.DeleteRangeRequest, wanted: bool) -> Applied:
        writer.counts.deletes += 1
        before = writer.delete(request.key)
        if before is None:
            return Applied(writer.revision, b"")
        if before.lease:
            self._leases.reattach(writer.batch, request.key, before.lease, 0)
        body = b""
        if wanted:
            previous = kv_response.previous((before.kv,)) if request.prev_kv else b""
            body = kv_response.delete_response(1, previous)
        return Applied(writer.revision, body)

    def _refuse_txn(self, request: rpc.TxnRequest) -> None:
        self._alarms.refuse_if_corrupt(request)
        if self._alarms.no_space and txn_cost(request) > 0:
            raise NoSpace

    def _txn(self, writer: Writer, request: rpc.TxnRequest, wanted: bool) -> Applied | Work:
        return txn.write(writer, self._leases, request, wanted)

    def _compact(self, writer: Writer, request: rpc.CompactionRequest, wanted: bool) -> Applied:
        revision = request.revision
        writer.compact(revision)
        self._context.after_commit(lambda listeners: listeners.compacted(revision))
        return Applied(writer.revision, b"")
