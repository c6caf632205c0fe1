"""Replicated records of leases: ids, granted TTLs, attached keys.

Deadlines are not replicated: the leader keeps them (`rusd/lease`) and proposes the expiry. A key is
attached to one lease at most. Attachments have a family of their own, so a start does not scan the
keys.
"""

import struct
from collections.abc import Iterator

import msgspec

from rusd.state.errors import LeaseExists, LeaseNotFound, LeaseTtlTooLarge
from rusd.storage import Batch, Engine, Family

#: Seconds (about 285 years), as in etcd.
MAX_TTL = 9_000_000_000

_ID = struct.Struct(">Q")
_RECORD = struct.Struct(">qq")
_MASK64 = (1 << 64) - 1
_LAST = _ID.pack(_MASK64)


class Lease(msgspec.Struct, gc=False):
    """One lease, the same on all members.

    The garbage collector visits neither a lease nor its keys (it visits no dict of bytes and None):
    a million of them would make a full collection 0.1 s longer.
    """

    #: Any int64 but 0.
    id: int
    #: Granted time to live in whole seconds.
    ttl: int
    #: Seconds left at the last checkpoint; 0 if there was none since the last renewal.
    remaining_ttl: int = 0
    keys: dict[bytes, None] = msgspec.field(default_factory=dict)


class Leases:
    """All leases, in memory and (by the batches passed in) in the families LEASE and LEASE_KEY."""

    def __init__(self) -> None:
        self._leases: dict[int, Lease] = {}

    def load(self, engine: Engine) -> None:
        """Read the stored leases, in place of those in memory."""
        self._leases = {}
        for key, value in engine.scan(Family.LEASE, b"", None):
            lease_id = _signed(key)
            ttl, remaining = _RECORD.unpack(value)
            self._leases[lease_id] = Lease(lease_id, ttl, remaining)
        for key in engine.scan_keys(Family.LEASE_KEY, b"", None):
            self._leases[_signed(key[:8])].keys[key[8:]] = None

    def __len__(self) -> int:
        return len(self._leases)

    def __iter__(self) -> Iterator[Lease]:
        return iter(self._leases.values())

    def get(self, lease_id: int) -> Lease | None:
        return self._leases.get(lease_id)

    def require(self, lease_id: int) -> Lease:
        """Return the lease. Raises LeaseNotFound."""
        lease = self._leases.get(lease_id)
        if lease is None:
            raise LeaseNotFound
        return lease

    def grant(self, batch: Batch, lease_id: int, ttl: int) -> Lease:
        """Add a lease; `ttl` in seconds. Raises LeaseNotFound for id 0, LeaseTtlTooLarge or
        LeaseExists.
        """
        if lease_id == 0:
            raise LeaseNotFound
        if ttl > MAX_TTL:
            raise LeaseTtlTooLarge
        if lease_id in self._leases:
            raise LeaseExists
        lease = Lease(lease_id, ttl)
        self._leases[lease_id] = lease
        self._store(batch, lease)
        return lease

    def remove(self, batch: Batch, lease: Lease) -> None:
        """Remove a lease; its keys were deleted, and so detached, before."""
        del self._leases[lease.id]
        batch.delete(Family.LEASE, _key(lease.id))

    def checkpoint(self, batch: Batch, lease_id: int, remaining_ttl: int) -> None:
        """Store the seconds a lease has left; an unknown lease is ignored, as in etcd."""
        lease = self._leases.get(lease_id)
        if lease is not None:
            lease.remaining_ttl = remaining_ttl
            self._store(batch, lease)

    def reattach(self, batch: Batch, key: bytes, old: int, new: int) -> None:
        """Move a key from lease `old` to lease `new` (0 = none)."""
        if old == new:
            return
        if old and (lease := self._leases.get(old)) is not None:
            lease.keys.pop(key, None)
            batch.delete(Family.LEASE_KEY, _key(old) + key)
        if new:
            self._leases[new].keys[key] = None
            batch.put(Family.LEASE_KEY, _key(new) + key, b"")

    # Many keys of one apply

    def discard(self, lease_id: int, key: bytes) -> None:
        """Detach a key in memory only; `detach` or `detach_interval` writes it."""
        if (lease := self._leases.get(lease_id)) is not None:
            lease.keys.pop(key, None)

    def detach(self, batch: Batch, lease_id: int, key: bytes) -> None:
        """Write the detachment of a key from a lease; `discard` detaches it in memory."""
        batch.delete(Family.LEASE_KEY, _key(lease_id) + key)

    def detach_interval(self, batch: Batch, lease_id: int, start: bytes, end: bytes) -> None:
        """Detach every key in [start, end)."""
        prefix = _key(lease_id)
        batch.delete_interval(Family.LEASE_KEY, prefix + start, prefix + end)

    def stored(self, engine: Engine, lease: Lease, count: int) -> Iterator[list[bytes]]:
        """Yield the committed keys of a lease in key order, `count` at a time."""
        prefix = _key(lease.id)
        end = None if prefix == _LAST else _ID.pack(_ID.unpack(prefix)[0] + 1)
        rows = engine.cursor(Family.LEASE_KEY, prefix, end)
        while found := rows.keys(count):
            yield [key[8:] for key in found]

    def _store(self, batch: Batch, lease: Lease) -> None:
        batch.put(Family.LEASE, _key(lease.id), _RECORD.pack(lease.ttl, lease.remaining_ttl))


def _key(lease_id: int) -> bytes:
    return _ID.pack(lease_id & _MASK64)


def _signed(key: bytes) -> int:
    return int.from_bytes(key, "big", signed=True)
