"""etcd's database file to the state of a new cluster.

Kept: keys with all their revisions and tombstones, compaction marks, leases, users and roles,
alarms. Left out, since they speak of the cluster that was: members, cluster version, a downgrade
under way, log positions.

The state that arises depends on the file alone: members that restore the same file hold the same
bytes.
"""

import struct
from collections.abc import Iterator
from itertools import takewhile
from typing import Final, NamedTuple

from google.protobuf.message import DecodeError

from rusd.backup import etcd_records as etcd
from rusd.backup.errors import SnapshotError
from rusd.backup.etcd_requests import MIN_TTL
from rusd.backup.restore_history import History, check_revision, mark_bump
from rusd.base.errors import Refusal
from rusd.bbolt import BboltError, Database, Item
from rusd.mvcc import compaction
from rusd.mvcc.revision import parse_revision_key, revision_key
from rusd.mvcc.size import Growth
from rusd.mvcc.store import Store
from rusd.proto import lease_pb2, rpc_pb2
from rusd.state import auth_records
from rusd.state.alarms import Alarm, Alarms
from rusd.state.leases import MAX_TTL, Leases
from rusd.storage import Batch, Engine

#: Records, and bytes of the file, in one write.
WRITES: Final = 5000
WRITE_BYTES: Final = 4 << 20
#: The newest revision that a restored store may have: the counter is an int64, and the writes to
#: come need theirs.
_MAX_REVISION: Final = 1 << 62


class Restored(NamedTuple):
    """What a restored state holds."""

    #: The newest revision.
    revision: int
    #: Rows of the history: puts and tombstones.
    rows: int


def restore(database: Database, engine: Engine, *, until: int = 0) -> Restored:
    """Write the records of `database` to an empty engine.

    `until`: the newest revision to restore, if not the file's: keys are as they were then; leases,
    users, roles and alarms are the file's all the same. (A key whose lease has ended since is kept
    without.)
    Raises SnapshotError if the file is damaged or begins behind that revision, StorageError.
    """
    try:
        return _Restore(database, engine, until).run()
    except (BboltError, DecodeError, Refusal, ValueError, struct.error) as error:
        raise SnapshotError(f"damaged: {error}") from error


def bump_revision(batch: Batch, store: Store, bump: int) -> int:
    """Add `bump` to the newest revision of `store`, which is to be opened anew after the write of
    `batch`; return the sum.

    All revisions up to there are compacted then, so that a client which saw later ones of the old
    cluster is told so. Raises SnapshotError if the sum is too high.
    """
    bumped = _checked(store.revision + bump)
    mark_bump(batch, bumped)
    compaction.schedule(batch, bumped)
    # (Otherwise the member that opens it would count all rows before it serves.)
    growth = Growth()
    growth.mark()
    store.size.grow(batch, growth, bumped)
    return bumped


class _Restore:
    def __init__(self, database: Database, engine: Engine, until: int) -> None:
        self._database = database
        self._engine = engine
        self._until = until
        self._batch = Batch()
        #: Bytes of the records in it.
        self._bytes = 0

    def run(self) -> Restored:
        """Restore everything."""
        history = History(self._engine)
        keys = self._database.bucket(etcd.KEY)
        if keys is None:
            raise SnapshotError("no database of etcd: it has no bucket of keys")
        history.restore(self._up_to_its_end(keys.items()))
        newest = self._compaction(history.newest)
        if self._until and newest > self._until:
            raise SnapshotError(f"revision {self._until} is compacted: the file begins at {newest}")
        self._leases(history.leased)
        self._auth()
        self._alarms()
        self._write()
        return Restored(newest, history.rows)

    def _up_to_its_end(self, items: Iterator[Item]) -> Iterator[Item]:
        if not self._until:
            return items
        beyond = revision_key(min(self._until, _MAX_REVISION) + 1)
        return takewhile(lambda item: item.key < beyond, items)

    def _items(self, name: bytes) -> Iterator[tuple[bytes, bytes]]:
        bucket = self._database.bucket(name)
        for key, value, is_bucket in bucket.items() if bucket is not None else ():
            if is_bucket:
                raise SnapshotError(f"damaged: bucket {name!r} holds a bucket {key!r}")
            yield key, value

    def _records(self, name: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the items of a bucket; write the batch when it becomes large."""
        for key, value in self._items(name):
            yield key, value
            self._recorded(len(key) + len(value))

    def _recorded(self, size: int) -> None:
        """Note a record of `size` bytes in the batch."""
        self._bytes += size
        if self._bytes >= WRITE_BYTES or len(self._batch) >= WRITES:
            self._write()

    def _write(self) -> None:
        self._engine.write(self._batch)
        self._batch.clear()
        self._bytes = 0

    def _compaction(self, newest: int) -> int:
        """Restore the marks of compactions; return the newest revision."""
        marks = dict(self._items(etcd.META))
        newest = max(newest, 1)
        for name, record in (
            (etcd.SCHEDULED_COMPACTION, compaction.schedule),
            (etcd.FINISHED_COMPACTION, compaction.finish),
        ):
            if name in marks:
                check_revision(marks[name])
                revision = parse_revision_key(marks[name])[0]
                record(self._batch, revision)
                # (All rows up to there may be removed.)
                newest = max(newest, revision)
        return _checked(newest)

    def _leases(self, leased: dict[bytes, int]) -> None:
        leases = Leases()
        for _, encoded in self._records(etcd.LEASE):
            record = lease_pb2.Lease.FromString(encoded)
            leases.grant(self._batch, record.ID, max(record.TTL, MIN_TTL))
            if record.RemainingTTL > 0:
                leases.checkpoint(self._batch, record.ID, min(record.RemainingTTL, MAX_TTL))
        for key, lease in leased.items():
            # (A key of a lease that is not there is kept without, as etcd does.)
            if leases.get(lease) is not None:
                leases.reattach(self._batch, key, 0, lease)
                self._recorded(len(key))

    def _auth(self) -> None:
        records = auth_records.BatchRecords(self._batch)
        for _, encoded in self._records(etcd.AUTH_USERS):
            records.put_user(auth_records.user_of(encoded))
        for _, encoded in self._records(etcd.AUTH_ROLES):
            records.put_role(auth_records.role_of(encoded))
        state = dict(self._items(etcd.AUTH))
        if etcd.AUTH_REVISION in state:
            records.put_revision(_auth_revision(state[etcd.AUTH_REVISION]))
        if etcd.AUTH_ENABLED in state:
            records.put_enabled(state[etcd.AUTH_ENABLED] == b"\1")

    def _alarms(self) -> None:
        alarms = Alarms()
        for encoded, _ in self._records(etcd.ALARM):
            message = rpc_pb2.AlarmMember.FromString(encoded)
            alarms.activate(self._batch, Alarm(message.memberID, message.alarm))


def _checked(newest: int) -> int:
    """Return the newest revision of a store. Raises SnapshotError if it leaves no room."""
    if newest > _MAX_REVISION:
        raise SnapshotError(f"revision {newest} is too high: {_MAX_REVISION} at most")
    return newest


def _auth_revision(encoded: bytes) -> int:
    """Decode the revision of auth. Raises SnapshotError."""
    if len(encoded) != 8 or (revision := etcd.parse_number(encoded)) > _MAX_REVISION:
        raise SnapshotError(f"damaged: {encoded!r} is no revision of auth")
    return revision
