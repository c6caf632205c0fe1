"""Put, DeleteRange and Range at one revision, with their effects on leases.

A `WriteTxn` is one revision: a single request or a whole txn. Checks (`check_put`, `check_range`)
precede it, since writes cannot be removed from the batch.
"""

from bisect import bisect_right
from collections.abc import Callable, Generator, Iterator

from rusd.base.chunks import Encoded
from rusd.base.sliced import Meter
from rusd.mvcc.bulk_delete import SLICE
from rusd.mvcc.errors import Compacted, FutureRevision
from rusd.mvcc.interval import bounds
from rusd.mvcc.ports import Rows
from rusd.mvcc.store import Writer
from rusd.proto import rpc_pb2 as rpc
from rusd.state.errors import EmptyKey, KeyNotFound
from rusd.state.lease_detachments import LeaseDetachments
from rusd.state.leases import Lease, Leases
from rusd.state.ports import View
from rusd.wire import kv_response
from rusd.wire.keyvalue import key_of, kv_of, parse, value_of


def check_put(view: View, leases: Leases, request: rpc.PutRequest) -> None:
    """Raises EmptyKey, LeaseNotFound, or KeyNotFound for ignore_* on an absent key."""
    check_key(request)
    _check_lease(leases, request)
    _check_ignored(view, request)


def check_put_in_txn(view: View, leases: Leases, request: rpc.PutRequest) -> None:
    """Raises as `check_put`, but KeyNotFound first, as in etcd up to 3.6."""
    check_key(request)
    _check_ignored(view, request)
    _check_lease(leases, request)


def check_key(request: rpc.PutRequest) -> None:
    """Raises EmptyKey.

    The proposing member checks it too; this check protects the store from a proposal that another
    member did not check.
    """
    if not request.key:
        raise EmptyKey


def _check_lease(leases: Leases, request: rpc.PutRequest) -> None:
    if request.lease:
        leases.require(request.lease)


def _check_ignored(view: View, request: rpc.PutRequest) -> None:
    if (request.ignore_value or request.ignore_lease) and view.get(request.key) is None:
        raise KeyNotFound


def check_range(view: View, request: rpc.RangeRequest) -> None:
    """Raises FutureRevision or Compacted. A range inside a txn must not fail after the first
    write.
    """
    revision = request.revision
    if revision == 0:
        return
    if revision > view.revision:
        raise FutureRevision
    # Unlike in a range outside a txn, etcd checks a negative revision here.
    if revision < view.compact_revision:
        raise Compacted


def put_alone(
    writer: Writer,
    leases: Leases,
    request: rpc.PutRequest,
    wanted: bool,
    check: Callable[[View, Leases, rpc.PutRequest], None] = check_put,
) -> bytes:
    """Put one key at a revision of its own; returns a PutResponse without header, or nothing if
    none is `wanted`. Raises as `check`.

    As a `WriteTxn` with one put, without the work that only several operations need.
    """
    if request.ignore_value or request.ignore_lease:
        check(writer, leases, request)
        txn = WriteTxn(writer, leases, wanted)
        body = txn.put(request)
        txn.end()
        return body
    check_key(request)
    key, lease = request.key, request.lease
    if lease:
        leases.require(lease)
    before = writer.put(key, request.value, lease)
    old_lease = 0 if before is None else before.lease
    if old_lease != lease:
        leases.reattach(writer.batch, key, old_lease, lease)
    if wanted and before is not None and request.prev_kv:
        return kv_response.put_response(before.kv)
    return b""


class WriteTxn:
    """The changes of one revision. Responses are encoded only if `wanted`; else they are empty."""

    def __init__(self, writer: Writer, leases: Leases, wanted: bool) -> None:
        self._writer = writer
        self._txn = writer.txn()
        self._leases = leases
        self._wanted = wanted
        self._begin = writer.revision
        self._operations = writer.counts.operations

    @property
    def revision(self) -> int:
        """The revision of a read at this point: the next one after the first change."""
        return self._begin + 1 if self._txn.changed else self._begin

    def end(self) -> int:
        """Close the revision; returns the store's revision afterwards."""
        self._writer.counts.end_txn(self._operations)
        return self._txn.end()

    def put(self, request: rpc.PutRequest) -> bytes:
        """Write one key; returns a PutResponse without header."""
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
            self._leases.reattach(self._writer.batch, key, old_lease, lease)
        if not self._wanted or not request.prev_kv:
            return b""
        return kv_response.put_response(None if before is None else before.kv)

    def delete(self, key: bytes) -> bytes | None:
        """Delete one key; returns its KeyValue before, or None if absent."""
        before = self._txn.delete(key)
        if before is None:
            return None
        if before.lease:
            self._leases.reattach(self._writer.batch, key, before.lease, 0)
        return before.kv

    def delete_one(self, request: rpc.DeleteRangeRequest) -> bytes:
        """`delete_range` for a single key."""
        self._writer.counts.deletes += 1
        kv = self.delete(request.key)
        previous = [] if kv is None else [kv]
        return self._deleted(request, len(previous), kv_response.previous(previous))

    def delete_range(self, request: rpc.DeleteRangeRequest) -> Generator[None, None, Encoded]:
        """Delete an interval of keys in slices; returns a DeleteRangeResponse without header."""
        if not request.range_end:
            return self.delete_one(request)
        self._writer.counts.deletes += 1
        rows = self._writer.rows(*bounds(request.key, request.range_end))
        part = rows.read(SLICE)
        following = rows.read(SLICE) if part else []
        if following:
            return (yield from self._delete_many(request, rows, part, following))
        kvs = [kv_of(row) for row in part]
        for kv in kvs:
            live = parse(kv)
            key = key_of(kv)
            self._txn.delete_live(key, live)
            if live.lease:
                self._leases.reattach(self._writer.batch, key, live.lease, 0)
        return self._deleted(request, len(kvs), kv_response.previous(kvs))

    def _deleted(self, request: rpc.DeleteRangeRequest, deleted: int, previous: bytes) -> bytes:
        if not self._wanted:
            return b""
        return kv_response.delete_response(deleted, previous if request.prev_kv else b"")

    def _delete_many(
        self, request: rpc.DeleteRangeRequest, rows: Rows, part: list[bytes], following: list[bytes]
    ) -> Generator[None, None, Encoded]:
        """Delete the rest of the interval: `part`, `following`, and the unread `rows`."""
        bulk_delete = self._txn.bulk_delete()
        detached = LeaseDetachments(self._leases)
        deleted = 0
        previous: list[bytes] = []
        while part:
            kvs = [kv_of(row) for row in part]
            keys = [key_of(kv) for kv in kvs]
            bulk_delete.add(keys, kvs, whole=True)
            detached.add(keys, kvs)
            deleted += len(keys)
            if self._wanted and request.prev_kv:
                previous.append(kv_response.previous(kvs))
            self._writer.spill()
            yield
            part, following = following, rows.read(SLICE) if following else []
        yield from bulk_delete.end()
        yield from detached.end(self._writer.batch)
        return kv_response.long_delete_response(deleted, previous) if self._wanted else b""

    def end_lease(self, lease: Lease) -> Generator[None, None, None]:
        """Delete the keys of a lease in slices."""
        # As in etcd, a deletion for each key.
        self._writer.counts.deletes += len(lease.keys)
        if len(lease.keys) <= SLICE:
            # Sorted, since sub-revisions store the order.
            for key in sorted(lease.keys):
                self.delete(key)
            return
        bulk_delete = self._txn.bulk_delete()
        last = b""
        for attached in self._attached(lease):
            kvs = self._writer.kvs(attached)
            live = {key: kv for key, kv in zip(attached, kvs, strict=True) if kv is not None}
            if live:
                bulk_delete.add(list(live), list(live.values()))
            last = attached[-1] if attached else last
            self._writer.spill()
            yield
        yield from bulk_delete.end()
        self._leases.detach_interval(self._writer.batch, lease.id, b"", last + b"\0")

    def _attached(self, lease: Lease) -> Iterator[list[bytes]]:
        """The keys of a lease in key order, in parts (some may be empty)."""
        versions = self._writer.overlay.versions
        own = sorted(key for key, live in versions.items() if live and live.lease == lease.id)
        at = 0
        for stored in self._leases.stored(self._writer.engine, lease, SLICE):
            keys = [key for key in stored if key in lease.keys]
            until = bisect_right(own, stored[-1])
            if until > at:
                keys = sorted({*keys, *own[at:until]})
                at = until
            yield keys
        for start in range(at, len(own), SLICE):
            yield own[start : start + SLICE]

    def range_slices(
        self, request: rpc.RangeRequest, meter: Meter
    ) -> Generator[None, None, Encoded]:
        """Read after the earlier changes of this revision; returns a headerless RangeResponse."""
        self._writer.counts.ranges += 1
        if not self._wanted:
            return b""
        result = yield from self._writer.range_slices(request)
        return (yield from kv_response.range_slices(result, meter))

    def range(self, request: rpc.RangeRequest) -> bytes:
        """Read after the earlier changes of this revision; returns a headerless RangeResponse."""
        self._writer.counts.ranges += 1
        if not self._wanted:
            return b""
        return kv_response.range_response(self._writer.range(request))
