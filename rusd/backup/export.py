"""The state of a database to the buckets of etcd's file."""

from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

from rusd.backup import etcd_records as etcd
from rusd.bbolt import Writer
from rusd.mvcc import compaction
from rusd.mvcc.revision import revision_key
from rusd.state import auth_records
from rusd.state.alarms import Alarms
from rusd.state.leases import Leases
from rusd.state.members import Members
from rusd.state.positions import Positions
from rusd.storage import Engine, Family

Items = Iterable[tuple[bytes, bytes]]

#: Pages written at once, bytes.
_WRITE = 1 << 20


def write(engine: Engine, file: BinaryIO, before_write: Callable[[], None] = lambda: None) -> int:
    """Write the state to an empty file; return its size in bytes. Raises StorageError, OSError.

    `before_write`: called before each large write; what it raises ends this.
    """
    writer = Writer()
    file.seek(writer.size)
    out = _Buffered(file, before_write)
    for page in writer.pages(buckets(engine)):
        out.write(page)
    out.flush()
    file.seek(0)
    file.write(writer.meta())
    file.flush()
    return writer.size


def buckets(engine: Engine) -> Iterator[tuple[bytes, Items]]:
    """Yield the name of every bucket of etcd, and its items in the order of their keys."""
    members, leases, alarms = Members(), Leases(), Alarms()
    for records in (members, leases, alarms):
        records.load(engine)
    yield etcd.ALARM, sorted((alarm.encode(), b"") for alarm in alarms)
    yield etcd.AUTH, _auth(engine)
    yield etcd.AUTH_ROLES, auth_records.encoded_roles(engine)
    yield etcd.AUTH_USERS, auth_records.encoded_users(engine)
    yield etcd.CLUSTER, _cluster(members)
    yield etcd.KEY, engine.whole(Family.KEY)
    yield etcd.LEASE, sorted((etcd.lease_key(one.id), etcd.lease(one)) for one in leases)
    yield etcd.MEMBERS, sorted((etcd.member_key(one.id), etcd.member(one)) for one in members)
    yield (
        etcd.MEMBERS_REMOVED,
        sorted((etcd.member_key(one), etcd.REMOVED) for one in members.removed),
    )
    yield etcd.META, sorted(_meta(engine, members).items())


def _auth(engine: Engine) -> Items:
    enabled, revision = auth_records.encoded_state(engine)
    if enabled is not None:
        yield etcd.AUTH_ENABLED, enabled
    if revision is not None:
        yield etcd.AUTH_REVISION, revision


def _cluster(members: Members) -> Items:
    if members.cluster_version:
        yield etcd.CLUSTER_VERSION, members.cluster_version.encode()
    if members.downgrade_target is not None:
        yield etcd.DOWNGRADE, etcd.downgrade(members.downgrade_target)


def _meta(engine: Engine, members: Members) -> dict[bytes, bytes]:
    positions = Positions()
    positions.load(engine)
    found = {
        etcd.CONF_STATE: etcd.conf_state(list(members)),
        etcd.CONSISTENT_INDEX: etcd.number(positions.applied.index),
        etcd.STORAGE_VERSION: members.storage_version.encode(),
        etcd.TERM: etcd.number(positions.applied.term),
    }
    scheduled, finished = compaction.marks(engine)
    if scheduled >= 0:
        found[etcd.SCHEDULED_COMPACTION] = revision_key(scheduled)
    if finished >= 0:
        found[etcd.FINISHED_COMPACTION] = revision_key(finished)
    return found


class _Buffered:
    """Joins pages to large writes."""

    def __init__(self, file: BinaryIO, before_write: Callable[[], None]) -> None:
        self._file = file
        self._before_write = before_write
        self._pages: list[bytes] = []
        self._size = 0

    def write(self, page: bytes) -> None:
        self._pages.append(page)
        self._size += len(page)
        if self._size >= _WRITE:
            self.flush()

    def flush(self) -> None:
        self._before_write()
        self._file.write(b"".join(self._pages))
        self._pages, self._size = [], 0
