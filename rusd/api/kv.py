"""etcdserverpb.KV: puts, deletions, txns, compactions and ranges.

Put, DeleteRange, Compact and txns that write are proposed as the client encoded them, and answered
from this member's own apply. Ranges and txns that only read are answered from the local store,
after a read index unless they are serializable. Users and roles may have changed during the wait:
the caller is then identified once more before its permission is checked.
"""

from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from google.protobuf.message import Message

from rusd.api import validate
from rusd.api.concurrency_limit import ConcurrencyLimit
from rusd.api.range_stream import RangeStream
from rusd.base import sliced
from rusd.base.chunks import Chunks, Encoded, concatenated
from rusd.base.pending import Pending
from rusd.mvcc.range_query import RangeResult
from rusd.mvcc.read_view import ReadView
from rusd.proto import nested_txn
from rusd.proto import rpc_pb2 as rpc
from rusd.raft.interface import Features, Proposer, ReadIndex
from rusd.rpc.authentication import Authenticator
from rusd.rpc.call import Call
from rusd.rpc.errors import MEMBER_TOO_OLD_FOR_TXN, REQUEST_TOO_LARGE
from rusd.rpc.methods import Methods, ServerStream, Unary
from rusd.rpc.responses import Response
from rusd.rpc.signing import signed
from rusd.rpc.streams import ResponseStream, StreamHandler
from rusd.state import txn
from rusd.state.command import DEEP_TXNS, EARLIER_LEVELS, Kind, encode
from rusd.state.interface import WithKeys, WithLeases, WithPermissions
from rusd.state.result import Applied
from rusd.wire import kv_response, range_request
from rusd.wire.header import Headers
from rusd.wire.range_request import KeyRequest, RangeRequest

#: Bytes above which a value is sent without being copied into a joined response.
COPIED_BYTES = 64 << 10
#: Ranges and txns longer than a slice that are read at a time.
LONG_READS = 4
#: Bytes that etcd's InternalRaftRequest adds to a request, about: counted, so that
#: --max-request-bytes refuses the same requests as etcd.
ENVELOPE_BYTES = 18


class Node(Features, Proposer, ReadIndex, Protocol):
    """The part of the Raft node in use."""


class Machine(WithKeys, WithLeases, WithPermissions, Protocol):
    """The part of the state machine in use."""


class Compactions(Protocol):
    """Physical compaction in the background."""

    def finished(self, revision: int) -> Awaitable[None]:
        """Resolves when the superseded versions up to `revision` are removed from disk."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one request; named as their flags."""

    max_txn_ops: int = 128
    max_request_bytes: int = 1572864


class KVService:
    """etcdserverpb.KV."""

    def __init__(
        self,
        node: Node,
        machine: Machine,
        headers: Headers,
        compactions: Compactions,
        authenticator: Authenticator,
        limits: Limits,
    ) -> None:
        self._node = node
        self._machine = machine
        self._headers = headers
        self._compactions = compactions
        self._authenticator = authenticator
        self._limits = limits
        self._long_reads = ConcurrencyLimit(LONG_READS)

    def methods(self) -> Methods:
        """gRPC path -> method."""
        check_txn = partial(validate.check_txn, max_ops=self._limits.max_txn_ops)
        methods: Methods = {
            "Range": Unary(
                rpc.RangeRequest, self.range, validate.check_range, decode=range_request.decode
            ),
            "RangeStream": ServerStream(
                rpc.RangeRequest, self.range_stream, validate.check_range_stream
            ),
            "Put": Unary(rpc.PutRequest, self.put, validate.check_put),
            "DeleteRange": Unary(
                rpc.DeleteRangeRequest, self.delete_range, validate.check_delete_range
            ),
            "Txn": Unary(
                rpc.TxnRequest, self.txn, check_txn,
                decode=nested_txn.txn_request, decode_response=nested_txn.txn_response,
            ),
            "Compact": Unary(rpc.CompactionRequest, self.compact),
        }  # fmt: skip
        return {f"/etcdserverpb.KV/{name}": method for name, method in methods.items()}

    def range(self, request: RangeRequest, call: Call) -> Response:
        """Reads the local store, after a read index unless serializable."""
        if request.serializable:
            return self._read_range(request, call)
        return self._node.read_index().then(lambda _: self._read_range(request, call))

    def range_stream(
        self, request: rpc.RangeRequest, call: Call, responses: ResponseStream
    ) -> StreamHandler:
        """Streams a range in chunks, all at the revision at which it starts."""

        def permit() -> None:
            if self._machine.auth.enabled:
                self._identify(call)
                check()

        def check() -> None:
            self._machine.permissions.range(call.identity, request)

        return RangeStream(
            request, self._node, self._machine.store, self._headers,
            responses, self._limits.max_request_bytes, permit, check,
        )  # fmt: skip

    def put(self, request: rpc.PutRequest, call: Call) -> Response:
        """Proposes a put."""
        return self._propose(Kind.PUT, request, call)

    def delete_range(self, request: rpc.DeleteRangeRequest, call: Call) -> Response:
        """Proposes a deletion."""
        return self._propose(Kind.DELETE_RANGE, request, call)

    def txn(self, request: rpc.TxnRequest, call: Call) -> Response:
        """Proposes a txn that writes; reads as `range` one that does not."""
        kinds = txn.kinds(request)
        if not kinds <= txn.READS:
            if "request_txn" in kinds and nested_txn.levels(request) > EARLIER_LEVELS:
                self._require_deep_txns()
            return self._propose(Kind.TXN, request, call)
        if txn.is_serializable(request):
            return self._read_txn(request, call)
        return self._node.read_index().then(lambda _: self._read_txn(request, call))

    def _require_deep_txns(self) -> None:
        if not self._node.can_apply(DEEP_TXNS):
            raise MEMBER_TOO_OLD_FOR_TXN()

    def compact(self, request: rpc.CompactionRequest, call: Call) -> Response:
        """Proposes a compaction; with `physical`, responds when this member has removed the
        versions.
        """
        if not request.physical:
            return self._propose(Kind.COMPACT, request, call)
        proposal = self._submit(Kind.COMPACT, request, call)
        return proposal.then(lambda _: self._physically_compacted(request.revision))

    def _propose(self, kind: Kind, request: Message, call: Call) -> Response:
        return self._submit(kind, request, call).then(self._answer)

    def _submit(self, kind: Kind, request: Message, call: Call) -> Pending[Any]:
        body = call.raw or request.SerializeToString()
        if len(body) + ENVELOPE_BYTES > self._limits.max_request_bytes:
            raise REQUEST_TOO_LARGE()
        return self._node.propose(signed(call, encode(kind, body)))

    def _answer(self, applied: Applied) -> Encoded:
        body = applied.body
        if type(body) is bytes and len(body) <= COPIED_BYTES:
            return self._headers.field(applied.revision) + body
        return concatenated(self._headers.field(applied.revision), body)

    async def _physically_compacted(self, revision: int) -> bytes:
        await self._compactions.finished(revision)
        return self._headers.field(self._machine.store.revision)

    def _identify(self, call: Call) -> None:
        """Identify the caller of a read again if users or roles changed since. Raises
        InvalidToken.
        """
        if call.identity.revision != self._machine.auth.revision:
            self._authenticator.refresh(call)

    def _read_txn(self, request: rpc.TxnRequest, call: Call) -> Response:
        store, leases = self._machine.store, self._machine.leases
        if self._machine.auth.enabled:
            self._identify(call)
            check = self._machine.permissions.txn(call.identity, request)
            if check is not None:
                sliced.finish(check)
        applied = txn.read(store, leases, request)
        if applied is not None:
            return self._answer(applied)
        writable = call.wait_writable()
        if writable is not None:
            return self._once_writable(writable, lambda: self._read_txn(request, call))
        reading = txn.read_slices(ReadView(store, txn.intervals(request)), leases, request)
        try:
            next(reading)
        except StopIteration as end:
            return self._answer(end.value)
        return self._long_reads.start(
            lambda: self._read_long_txn(reading, call),
            # Nothing is held meanwhile: the read starts anew.
            lambda: self._read_txn(request, call),
        )

    async def _read_long_txn(self, reading: Generator[None, None, Applied], call: Call) -> Encoded:
        applied = await sliced.run(reading)
        self._machine.auth.check_current(call.identity)
        return self._answer(applied)

    def _read_range(self, request: RangeRequest, call: Call) -> Response:
        writable = call.wait_writable(small=not request.range_end)
        if writable is not None:
            return self._once_writable(writable, lambda: self._read_range(request, call))
        if self._machine.auth.enabled:
            self._identify(call)
            self._machine.permissions.range(call.identity, request)
        store = self._machine.store
        store.counts.ranges += 1
        revision = store.revision
        if type(request) is KeyRequest:
            framed = store.row(request.key)
            if framed is None:
                return self._headers.field(revision)
            if len(framed) <= COPIED_BYTES:
                return self._headers.field(revision) + kv_response.of_one_key(framed)
        if not request.range_end:
            return self._range_answer(revision, store.range(request))
        reading = store.range_slices(request)
        try:
            next(reading)
        except StopIteration as end:
            return self._range_answer(revision, end.value)
        return self._long_reads.start(
            lambda: self._read_long_range(revision, reading, call),
            # Nothing is held meanwhile: the read starts anew.
            lambda: self._read_range(request, call),
        )

    async def _once_writable(
        self, writable: Awaitable[None], read: Callable[[], Response]
    ) -> Encoded:
        """Reads when the client has taken its earlier responses."""
        await writable
        response = read()
        return response if isinstance(response, bytes | Chunks) else await response

    async def _read_long_range(
        self, revision: int, reading: Generator[None, None, RangeResult], call: Call
    ) -> Encoded:
        """Read the remaining slices of a long range."""
        result = await sliced.run(reading)
        self._machine.auth.check_current(call.identity)
        parts = Chunks(await sliced.run(kv_response.range_parts(result)))
        return concatenated(self._headers.field(revision), parts)

    def _range_answer(self, revision: int, result: RangeResult) -> Encoded:
        header = self._headers.field(revision)
        if len(result.framed) == 1 and len(result.framed[0]) > COPIED_BYTES:
            return Chunks((header, *kv_response.pieces(result)))
        return kv_response.range_response(result, header)
