"""Permissions required by requests, as etcd's apply checks them.

Reads are checked before they run, by the member that serves them; writes when they are applied, on
every member alike, by the user name and auth revision that the proposal carries (`command.Signed`).
So a permission that was revoked before a write in the log does not permit it.

    Put           write the key; with a lease, write every key of the lease; prev_kv: read the key
    DeleteRange   write the range; prev_kv: read the range first
    Txn           read the range of each condition, then each operation of BOTH branches, in order,
                  nested txns likewise
    LeaseRevoke   write every key of the lease
    Range         read the range

Checks raise an `rusd.auth.errors.AuthError`. A lease can hold very many keys, so its check is a
generator that yields between slices.
"""

from collections.abc import Generator, Iterable
from itertools import chain, islice

from rusd.auth.records import Identity
from rusd.auth.store import AuthStore
from rusd.proto import rpc_pb2 as rpc
from rusd.state.leases import Lease, Leases
from rusd.wire.range_request import RangeRequest

#: Keys of a lease checked between two yields.
KEYS_PER_SLICE = 5000

Check = Generator[None, None, None]


class Permissions:
    """Permission checks of one member, over its users and leases."""

    def __init__(self, auth: AuthStore, leases: Leases) -> None:
        self._auth = auth
        self._leases = leases

    def range(self, identity: Identity, request: RangeRequest) -> None:
        self._auth.check_read(identity, request.key, request.range_end)

    def put(self, identity: Identity, request: rpc.PutRequest) -> Check | None:
        """Check a put; without a lease (most puts) it needs no generator. Raises AuthError."""
        self._auth.check_write(identity, request.key)
        if request.lease:
            return self._put_with_lease(identity, request)
        if request.prev_kv:
            self._auth.check_read(identity, request.key)
        return None

    def _put_with_lease(self, identity: Identity, request: rpc.PutRequest) -> Check:
        yield from self.lease_writes(identity, request.lease)
        if request.prev_kv:
            self._auth.check_read(identity, request.key)

    def delete_range(self, identity: Identity, request: rpc.DeleteRangeRequest) -> None:
        # (In a txn etcd looks at prev_kv first; the error is the same.)
        self._auth.check_write(identity, request.key, request.range_end)
        if request.prev_kv:
            self._auth.check_read(identity, request.key, request.range_end)

    def txn(self, identity: Identity, request: rpc.TxnRequest) -> Check | None:
        """Check a txn; without leases (most txns) it needs no generator. Raises AuthError."""
        for condition in request.compare:
            self._auth.check_read(identity, condition.key, condition.range_end)
        operations = chain(request.success, request.failure)
        for operation in operations:
            check = self._operation(identity, operation)
            if check is not None:
                return self._remaining_checks(identity, check, operations)
        return None

    def _operation(self, identity: Identity, operation: rpc.RequestOp) -> Check | None:
        kind = operation.WhichOneof("request")
        if kind == "request_range":
            self.range(identity, operation.request_range)
        elif kind == "request_put":
            return self.put(identity, operation.request_put)
        elif kind == "request_delete_range":
            self.delete_range(identity, operation.request_delete_range)
        elif kind == "request_txn":
            return self.txn(identity, operation.request_txn)
        return None

    def _remaining_checks(
        self, identity: Identity, check: Check, operations: Iterable[rpc.RequestOp]
    ) -> Check:
        yield from check
        for operation in operations:
            yield from self._operation(identity, operation) or ()

    def lease_writes(self, identity: Identity, lease_id: int) -> Check:
        """Require write permission on every key of the lease; an unknown lease requires none."""
        for key in self._keys(identity, lease_id):
            if key is None:
                yield
            else:
                self._auth.check_write(identity, key)

    def lease_reads(self, identity: Identity, lease_id: int) -> Check:
        """Require read permission on every key of the lease (TimeToLive with keys, Leases)."""
        for key in self._keys(identity, lease_id):
            if key is None:
                yield
            else:
                self._auth.check_read(identity, key)

    def reads(self, identity: Identity, keys: list[bytes]) -> Check:
        """Require read permission on each of these keys."""
        for number, key in enumerate(keys, 1):
            self._auth.check_read(identity, key)
            if number % KEYS_PER_SLICE == 0:
                yield

    def _keys(self, identity: Identity, lease_id: int) -> Generator[bytes | None, None, None]:
        """Yield the keys of a lease, and None between two slices; none for `root`, which has all
        permissions.
        """
        lease = self._leases.get(lease_id) if lease_id else None
        if lease is None or not lease.keys or self._auth.is_root(identity):
            return
        yield from _sliced(lease)


def _sliced(lease: Lease) -> Generator[bytes | None, None, None]:
    if len(lease.keys) <= KEYS_PER_SLICE:
        yield from lease.keys
        return
    # (A copy: keys may come and go between the slices of a read's check.)
    keys = iter(list(lease.keys))
    while chunk := list(islice(keys, KEYS_PER_SLICE)):
        yield from chunk
        yield None
