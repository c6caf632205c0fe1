"""etcd's database file to the state of a new cluster.

Kept: keys with all their revisions and tombstones, compaction marks, leases, users and roles,
alarms. Left out, since they speak of the cluster that was: members, cluster version, a downgrade
under way, log positions.

The state that arises depends on the file alone: members that restore the same file hold the same
bytes.
"""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from google.protobuf.message import DecodeError

from rusd.backup import etcd_records as etcd
from rusd.backup.errors import SnapshotError
from rusd.base.errors import Refusal
from rusd.bbolt import BboltError, Database
from rusd.mvcc import compaction
from rusd.mvcc.revision import (
    REVISION_SIZE,
    TOMBSTONE,
    index_key,
    index_prefix,
    parse_revision_key,
)
from rusd.proto import kv_pb2, lease_pb2, rpc_pb2
from rusd.state import auth_records
from rusd.state.alarms import Alarm, Alarms
from rusd.state.leases import MAX_TTL, Leases
from rusd.storage import Batch, Engine, Family
from rusd.wire.keyvalue import frame, key_of

#: Records, and bytes of keys and values, in one write.
_WRITES: Final = 5000
_WRITE_BYTES: Final = 4 << 20
#: The newest revision that a restored store may have: the counter is an int64, and the writes to
#: come need theirs.
_MAX_REVISION: Final = 1 << 62
#: Seconds. A lease of less is given so many, as etcd does when it loads one (with its default
#: election timeout).
_MIN_TTL: Final = 2


_parse: Final = kv_pb2.KeyValue.FromString


class Restored(NamedTuple):
    """What a restored state holds."""

    #: The newest revision, with `bump`.
    revision: int
    #: Rows of the history: puts and tombstones.
    rows: int


def restore(database: Database, engine: Engine, *, bump: int = 0) -> Restored:
    """Write the records of `database` to an empty engine.

    `bump`: added to the newest revision; all revisions up to there are compacted then, so that a
    client which saw later ones of the old cluster is told so.
    Raises SnapshotError if the file is damaged, StorageError.
    """
    try:
        return _Restore(database, engine).run(bump)
    except (BboltError, DecodeError, Refusal, ValueError, struct.error) as error:
        raise SnapshotError(f"damaged: {error}") from error


class _Restore:
    def __init__(self, database: Database, engine: Engine) -> None:
        self._database = database
        self._engine = engine
        self._batch = Batch()
        #: The lease of every live key that has one.
        self._leased: dict[bytes, int] = {}

    def run(self, bump: int) -> Restored:
        """Restore everything."""
        newest, rows = self._keys()
        newest = self._compaction(newest, bump)
        self._leases()
        self._auth()
        self._alarms()
        self._write(0)
        return Restored(newest, rows)

    def _items(self, name: bytes) -> Iterator[tuple[bytes, bytes]]:
        bucket = self._database.bucket(name)
        if bucket is None:
            if name == etcd.KEY:
                raise SnapshotError("no database of etcd: it has no bucket of keys")
            return
        for key, value, is_bucket in bucket.items():
            if is_bucket:
                raise SnapshotError(f"damaged: bucket {name!r} holds a bucket {key!r}")
            yield key, value

    def _write(self, kept: int) -> None:
        """Write the batch if it holds more than `kept` records."""
        if len(self._batch) > kept:
            self._engine.write(self._batch)
            self._batch.clear()

    def _keys(self) -> tuple[int, int]:
        """Restore the history; return its newest revision and the number of its rows."""
        batch, leased = self._batch, self._leased
        main = rows = size = 0
        for row, kv in self._items(etcd.KEY):
            main, sub, is_tombstone = _revision_of(row)
            rows += 1
            if not kv:
                # The mark of an earlier restore with --bump-revision: no key.
                continue
            key, lease = _key_and_lease(row, kv)
            batch.put(Family.KEY, row, kv)
            mark = TOMBSTONE if is_tombstone else b""
            batch.put(Family.INDEX, index_key(index_prefix(key), main, sub), mark)
            if is_tombstone:
                batch.delete(Family.CURRENT, key)
                leased.pop(key, None)
            else:
                batch.put(Family.CURRENT, key, frame(kv))
                if lease:
                    leased[key] = lease
                else:
                    leased.pop(key, None)
            size += len(kv)
            if size > _WRITE_BYTES or len(batch) > _WRITES:
                self._write(0)
                size = 0
        self._write(0)
        return main, rows

    def _compaction(self, newest: int, bump: int) -> int:
        """Restore the marks of compactions; return the newest revision."""
        marks = dict(self._items(etcd.META))
        newest = max(newest, 1)
        for name, record in (
            (etcd.SCHEDULED_COMPACTION, compaction.schedule),
            (etcd.FINISHED_COMPACTION, compaction.finish),
        ):
            if name in marks:
                revision = _revision_of(marks[name])[0]
                record(self._batch, revision)
                # (A restore with --bump-revision marks revisions above that of every key.)
                newest = max(newest, revision)
        newest += bump
        if newest > _MAX_REVISION:
            raise SnapshotError(f"revision {newest} is too high: {_MAX_REVISION} at most")
        if bump:
            compaction.schedule(self._batch, newest)
        return newest

    def _leases(self) -> None:
        leases = Leases()
        for _, encoded in self._items(etcd.LEASE):
            record = lease_pb2.Lease.FromString(encoded)
            leases.grant(self._batch, record.ID, max(record.TTL, _MIN_TTL))
            if record.RemainingTTL > 0:
                leases.checkpoint(self._batch, record.ID, min(record.RemainingTTL, MAX_TTL))
            self._write(_WRITES)
        for key, lease in self._leased.items():
            # (A key of a lease that is not there is kept without, as etcd does.)
            if leases.get(lease) is not None:
                leases.reattach(self._batch, key, 0, lease)
                self._write(_WRITES)

    def _auth(self) -> None:
        records = auth_records.BatchRecords(self._batch)
        for _, encoded in self._items(etcd.AUTH_USERS):
            records.put_user(auth_records.user_of(encoded))
        for _, encoded in self._items(etcd.AUTH_ROLES):
            records.put_role(auth_records.role_of(encoded))
        state = dict(self._items(etcd.AUTH))
        if etcd.AUTH_REVISION in state:
            records.put_revision(_auth_revision(state[etcd.AUTH_REVISION]))
        if etcd.AUTH_ENABLED in state:
            records.put_enabled(state[etcd.AUTH_ENABLED] == b"\1")

    def _alarms(self) -> None:
        alarms = Alarms()
        for encoded, _ in self._items(etcd.ALARM):
            message = rpc_pb2.AlarmMember.FromString(encoded)
            alarms.activate(self._batch, Alarm(message.memberID, message.alarm))


def _revision_of(row: bytes) -> tuple[int, int, bool]:
    """Return main, sub and whether it is a tombstone. Raises SnapshotError."""
    size = len(row)
    if size != REVISION_SIZE and (size != REVISION_SIZE + 1 or row[-1:] != TOMBSTONE):
        raise SnapshotError(f"damaged: {row!r} is no revision")
    main, sub, is_tombstone = parse_revision_key(row)
    if main < 0 or sub < 0 or row[8:9] != b"_":
        raise SnapshotError(f"damaged: {row!r} is no revision")
    return main, sub, is_tombstone


def _auth_revision(encoded: bytes) -> int:
    """Decode the revision of auth. Raises SnapshotError."""
    if len(encoded) != 8 or (revision := etcd.parse_number(encoded)) > _MAX_REVISION:
        raise SnapshotError(f"damaged: {encoded!r} is no revision of auth")
    return revision


def _key_and_lease(row: bytes, kv: bytes) -> tuple[bytes, int]:
    """Return the key and the id of its lease. Raises SnapshotError: `kv` is no KeyValue, or holds
    fields in an order that etcd never writes; DecodeError, ValueError.
    """
    message = _parse(kv)
    key = message.key
    if not key or key_of(kv) != key:
        raise SnapshotError(f"damaged: {row!r} holds no key")
    return key, message.lease
