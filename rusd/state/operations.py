"""Put, DeleteRange and Range as they act on the store at one revision, with their lease effects.

`Operations` is one revision in the making: a single request or a whole txn. Checks come before it
(`check_put`, `check_range`), because what has been written to the batch cannot be taken back.
"""

from rusd.errors import COMPACTED, EMPTY_KEY, FUTURE_REVISION, KEY_NOT_FOUND
from rusd.mvcc.keyvalue import value_of
from rusd.mvcc.store import Writer
from rusd.proto import rpc_pb2 as rpc
from rusd.state import responses
from rusd.state.compare import View
from rusd.state.leases import Leases


def check_put(view: View, leases: Leases, request: rpc.PutRequest) -> None:
    """EMPTY_KEY, LEASE_NOT_FOUND, or KEY_NOT_FOUND for ignore_* on a key that does not exist."""
    check_key(request)
    _check_lease(leases, request)
    _check_ignored(view, request)


def check_put_in_txn(view: View, leases: Leases, request: rpc.PutRequest) -> None:
    """As `check_put`, in the other order: etcd up to 3.6 tells of the missing key first here."""
    check_key(request)
    _check_ignored(view, request)
    _check_lease(leases, request)


def check_key(request: rpc.PutRequest) -> None:
    """EMPTY_KEY. The proposing member checks it as well; but what is stored must be readable,
    whatever another member let through."""
    if not request.key:
        raise EMPTY_KEY


def _check_lease(leases: Leases, request: rpc.PutRequest) -> None:
    if request.lease:
        leases.require(request.lease)


def _check_ignored(view: View, request: rpc.PutRequest) -> None:
    if (request.ignore_value or request.ignore_lease) and view.get(request.key) is None:
        raise KEY_NOT_FOUND


def check_range(view: View, request: rpc.RangeRequest) -> None:
    """FUTURE_REVISION or COMPACTED; a range inside a txn must not fail half-way."""
    revision = request.revision
    if revision == 0:
        return
    if revision > view.revision:
        raise FUTURE_REVISION
    # etcd checks a negative revision here too, unlike in a range of its own.
    if revision < view.compact_revision:
        raise COMPACTED


class Operations:
    """The changes of one revision. Answers are encoded only if `wanted`; else they are empty."""

    def __init__(self, writer: Writer, leases: Leases, wanted: bool) -> None:
        self._writer = writer
        self._txn = writer.txn()
        self._leases = leases
        self._wanted = wanted
        self._begin = writer.revision

    @property
    def revision(self) -> int:
        """The revision a read shows at this moment: the next one as soon as anything changed."""
        return self._begin + 1 if self._txn.changed else self._begin

    def end(self) -> int:
        """Close the revision; the store's revision afterwards."""
        return self._txn.end()

    def put(self, request: rpc.PutRequest) -> bytes:
        """Write one key; PutResponse without header."""
        key, value, lease = request.key, request.value, request.lease
        if request.ignore_value or request.ignore_lease:
            live = self._writer.get(key)
            if live is not None and request.ignore_value:
                value = value_of(live.kv)
            if live is not None and request.ignore_lease:
                lease = live.lease
        before = self._txn.put(key, value, lease)
        old_lease = 0 if before is None else before.lease
        if old_lease != lease:
            self._leases.moved(self._writer.batch, key, old_lease, lease)
        if not self._wanted or not request.prev_kv:
            return b""
        return responses.put_response(None if before is None else before.kv)

    def delete(self, key: bytes) -> bytes | None:
        """Delete one key; its KeyValue before, None if it did not exist."""
        before = self._txn.delete(key)
        if before is None:
            return None
        if before.lease:
            self._leases.moved(self._writer.batch, key, before.lease, 0)
        return before.kv

    def delete_range(self, request: rpc.DeleteRangeRequest) -> bytes:
        """Delete the live keys of an interval; DeleteRangeResponse without header."""
        keys = self._writer.keys(request.key, request.range_end)
        previous = [kv for key in keys if (kv := self.delete(key)) is not None]
        if not self._wanted:
            return b""
        return responses.delete_response(len(previous), previous if request.prev_kv else ())

    def range(self, request: rpc.RangeRequest) -> bytes:
        """Read, earlier changes of this revision included; RangeResponse without header."""
        if not self._wanted:
            return b""
        return responses.range_response(self._writer.range(request))
