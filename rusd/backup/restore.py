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
from rusd.proto import lease_pb2, rpc_pb2
from rusd.state import auth_records
from rusd.state.alarms import Alarm, Alarms
from rusd.state.leases import Leases
from rusd.storage import Batch, Engine, Family
from rusd.wire.keyvalue import frame, key_of, unpack

#: Records in one write.
_WRITES: Final = 5000


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

    def run(self, bump: int) -> Restored:
        """Restore everything."""
        newest, rows = self._keys()
        self._compaction(newest, bump)
        self._leases()
        self._auth()
        self._alarms()
        self._write(0)
        return Restored(max(newest, 1) + bump, rows)

    def _items(self, name: bytes) -> Iterator[tuple[bytes, bytes]]:
        bucket = self._database.bucket(name)
        if bucket is None:
            if name == etcd.KEY:
                raise SnapshotError("no database of etcd: it has no bucket of keys")
            return
        for item in bucket.items():
            yield item.key, item.value

    def _write(self, kept: int) -> None:
        """Write the batch if it holds more than `kept` records."""
        if len(self._batch) > kept:
            self._engine.write(self._batch)
            self._batch.clear()

    def _keys(self) -> tuple[int, int]:
        """Restore the history; return its newest revision and the number of its rows."""
        batch = self._batch
        main = rows = 0
        for row, kv in self._items(etcd.KEY):
            if len(row) not in (REVISION_SIZE, REVISION_SIZE + 1):
                raise SnapshotError(f"damaged: {row!r} is no revision")
            main, sub, is_tombstone = parse_revision_key(row)
            rows += 1
            if not kv:
                # The mark of an earlier restore with --bump-revision: no key.
                continue
            key = key_of(kv)
            batch.put(Family.KEY, row, kv)
            mark = TOMBSTONE if is_tombstone else b""
            batch.put(Family.INDEX, index_key(index_prefix(key), main, sub), mark)
            if is_tombstone:
                batch.delete(Family.CURRENT, key)
            else:
                batch.put(Family.CURRENT, key, frame(kv))
            self._write(_WRITES)
        self._write(0)
        return main, rows

    def _compaction(self, newest: int, bump: int) -> None:
        marks = dict(self._items(etcd.META))
        for name, record in (
            (etcd.SCHEDULED_COMPACTION, compaction.schedule),
            (etcd.FINISHED_COMPACTION, compaction.finish),
        ):
            if name in marks:
                record(self._batch, parse_revision_key(marks[name])[0])
        if bump:
            compaction.schedule(self._batch, max(newest, 1) + bump)

    def _leases(self) -> None:
        leases = Leases()
        for _, encoded in self._items(etcd.LEASE):
            record = lease_pb2.Lease.FromString(encoded)
            leases.grant(self._batch, record.ID, record.TTL)
            if record.RemainingTTL:
                leases.checkpoint(self._batch, record.ID, record.RemainingTTL)
        if not len(leases):
            return
        for key, framed in self._engine.scan(Family.CURRENT, b"", None):
            lease = unpack(framed).lease
            if lease and leases.get(lease) is not None:
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
            records.put_revision(etcd.parse_number(state[etcd.AUTH_REVISION]))
        if etcd.AUTH_ENABLED in state:
            records.put_enabled(state[etcd.AUTH_ENABLED] == b"\1")

    def _alarms(self) -> None:
        alarms = Alarms()
        for encoded, _ in self._items(etcd.ALARM):
            message = rpc_pb2.AlarmMember.FromString(encoded)
            alarms.activate(self._batch, Alarm(message.memberID, message.alarm))
