"""The state of a database to the buckets of etcd's file."""

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import BinaryIO, Final

from rusd.backup import etcd_records as etcd
from rusd.backup.kept_pages import Interval, Reuse
from rusd.bbolt import Kept, Part, Writer
from rusd.bbolt.layout import BucketValue
from rusd.mvcc import compaction
from rusd.mvcc.revision import REVISION_SIZE, TOMBSTONE
from rusd.state import auth_records
from rusd.state.alarms import Alarms
from rusd.state.leases import Leases
from rusd.state.members import Members
from rusd.state.positions import Positions
from rusd.storage import Engine, Family

Items = Iterable[tuple[bytes, bytes]]

#: Bytes that `write` writes together; it says then how far it is.
STEP: Final = 1 << 20
#: Of the longest key of a row.
_KEY_BYTES: Final = REVISION_SIZE + len(TOMBSTONE)


def write(
    engine: Engine,
    file: BinaryIO,
    told: Callable[[int, int], None] = lambda written, whole: None,
    earlier: Reuse | None = None,
) -> int:
    """Write the state to an empty file, from its beginning to its end, or to what an earlier one
    left; return its size in bytes. It goes past the buffer of `file`, whose position stays.

    `told`: called when the file can be read from its beginning, and again after about each `STEP`,
    with the bytes so far and those of the whole file; what it raises ends this. `earlier`: the file
    is whole, and so much of it stays. The database must not change meanwhile. Raises StorageError,
    OSError; the file is of no use then.
    """
    writer = Writer() if earlier is None else Writer(first=earlier.pages)
    values: dict[bytes, BucketValue] = {}
    pages: list[bytes] = []
    there = writer.size
    for name, items in _small_buckets(engine):
        values[name] = _collected(writer.bucket(items), pages)
    if earlier is None:
        head = writer.head(writer.most(*engine.extent(Family.KEY), _KEY_BYTES))
        keys = writer.bucket(engine.whole(Family.KEY))
    else:
        kept = [part for part in earlier.parts if isinstance(part, Kept)]
        intervals, leaves = len(earlier.parts) - len(kept), sum(len(one.leaves) for one in kept)
        most = (earlier.rows, earlier.size, _KEY_BYTES, intervals, leaves)
        head = writer.head(writer.most(*most))
        keys = writer.go_on(_rows(engine, part) for part in earlier.parts)

    def everything() -> Iterator[bytes]:
        yield from pages
        values[etcd.KEY] = yield from keys
        yield from writer.finish(values)

    target = file.fileno()
    _put(target, [head], 0)
    told(there, writer.whole)
    written, together, size = there, list[bytes](), 0
    for page in everything():
        together.append(page)
        size += len(page)
        if size >= STEP:
            _put(target, together, written)
            written, together, size = written + size, [], 0
            told(written, writer.whole)
    _put(target, together, written)
    told(written + size, writer.whole)
    return written + size


def _put(file: int, pages: list[bytes], position: int) -> None:
    # (One call for many pages: Linux keeps them in larger parts.)
    written, size = os.pwritev(file, pages, position), sum(map(len, pages))
    while written < size:
        written += os.pwrite(file, b"".join(pages)[written:], position + written)


def _rows(engine: Engine, part: Kept | Interval) -> Part:
    return part if isinstance(part, Kept) else engine.whole(Family.KEY, *part)


def _collected(pages: Generator[bytes, None, BucketValue], into: list[bytes]) -> BucketValue:
    while True:
        try:
            into.append(next(pages))
        except StopIteration as end:
            value: BucketValue = end.value
            return value


def _small_buckets(engine: Engine) -> Iterator[tuple[bytes, Items]]:
    """Yield the name of every bucket of etcd but the keys', and its items in their order."""
    members, leases, alarms = Members(), Leases(), Alarms()
    for records in (members, leases, alarms):
        records.load(engine)
    yield etcd.ALARM, sorted((alarm.encode(), b"") for alarm in alarms)
    yield etcd.AUTH, _auth(engine)
    yield etcd.AUTH_ROLES, auth_records.encoded_roles(engine)
    yield etcd.AUTH_USERS, auth_records.encoded_users(engine)
    yield etcd.CLUSTER, _cluster(members)
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
    return found | etcd.compaction_marks(*compaction.marks(engine))
