"""A backup and its segments as what a restore begins with and applies.

Requests on the cluster that was are left out (its members, versions, sessions), as `etcd_requests`
leaves them out.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from rusd.backup.archive.chain import reach, without_gap
from rusd.backup.archive.names import Segment, SegmentNames, fingerprint
from rusd.backup.archive.segment import entries
from rusd.backup.errors import SnapshotError
from rusd.backup.scheduled.names import Backup, Names
from rusd.backup.snapshot_check import mapped
from rusd.raft.commands import decode_entry
from rusd.raft.ports import LogEntry, Position
from rusd.state.command import Kind, LeaseExpiry, encode, unsign

#: Term of the entries in which a restore applies requests.
APPLIED_IN: Final = 1
_CLUSTER: Final = re.compile(r"rusd-([0-9a-f]{16})-.*\.(db|log)")
_LEFT_OUT: Final = frozenset(
    (
        Kind.MEMBER_ATTRIBUTES,
        Kind.CLUSTER_VERSION,
        Kind.DOWNGRADE,
        Kind.AUTHENTICATE,
        Kind.MEMBER_ADD,
        Kind.MEMBER_REMOVE,
        Kind.MEMBER_UPDATE,
        Kind.MEMBER_PROMOTE,
    )
)


class Source(NamedTuple):
    """A backup, and the segments to apply to it: its own, and those of others of the same log."""

    backup: Path
    segments: list[Segment]

    def proposals(self, base: Position) -> Iterator[bytes]:
        """Yield the requests behind the position of the backup. Raises SnapshotError: a segment is
        damaged, an entry is missing; OSError.
        """
        for command, index, term in without_gap(base, self._entries(base.index)):
            try:
                requests = decode_entry(command)
                for _, _, payload in requests:
                    if (proposal := _proposal(payload, term)) is not None:
                        yield proposal
            except (ValueError, msgspec.DecodeError) as error:
                raise SnapshotError(f"entry {index} cannot be decoded: {error}") from error

    def _entries(self, after: int) -> Iterator[LogEntry]:
        for segment in self.segments:
            if segment.last > after:
                path = self.backup.parent / segment.name
                data = mapped(path)
                try:
                    yield from _read(data, segment)
                except SnapshotError as error:
                    raise SnapshotError(f"{path}: {error}") from error


def sources(
    directory: Path, revision: int, cluster: int | None = None, *, first: str | None = None
) -> list[Source]:
    """Return what can give a revision (0: the last one), the best first.

    The newest backup at or below it with all segments that continue it, then with its own alone,
    then the next backup above, which may hold the history; only `first` if a backup is named.
    `cluster`: its id, if files of several are there. Raises SnapshotError, OSError.
    """
    cluster, backups = _backups(directory, cluster)
    of_segments = SegmentNames(cluster, 0)
    parsed = (of_segments.parse(each.name) for each in directory.iterdir())
    segments = [each for each in parsed if each is not None]

    def of(backup: Backup) -> list[Source]:
        path, mine = directory / backup.name, [s for s in segments if s.backup == backup.name]
        mine.sort(key=lambda s: (s.first, s.last))
        others = [s for s in segments if s.backup != backup.name]
        more = _of_the_same_log(directory, mine, others)
        alone = Source(path, mine)
        if not more:
            return [alone]
        # (A forced new cluster begins as the log before and goes on otherwise: these do not fit.)
        return [Source(path, sorted([*mine, *more], key=lambda s: (s.first, s.last))), alone]

    if first is not None:
        chosen = [each for each in backups if each.name == first]
        if not chosen:
            raise SnapshotError(f"{directory} has no backup {first}")
    elif not revision:
        chosen = backups[-1:]
    else:
        below = [each for each in backups if each.revision <= revision]
        # (Not an older one: revisions of a restored cluster begin anew, and have another history.)
        later = [each for each in backups if not below or each > below[-1]]
        chosen = below[-1:] + later[:1]
    return [source for each in chosen for source in of(each)]


def _of_the_same_log(directory: Path, mine: list[Segment], others: list[Segment]) -> list[Segment]:
    """Return segments of other backups that continue those of one without a gap.

    The archive goes on behind the backup before while a backup is made, which takes long for a
    large one; and names do not tell the last backup where a clock was set back. Two backups are of
    the same log if segments of one hold the last entry of the first segment of the other.
    """
    if not mine:
        return []
    last, found = reach(mine[0].backup, mine).last, list[Segment]()
    same = set[str]()
    for each in sorted(others, key=lambda s: (s.first, s.last)):
        if each.first <= last + 1 and each.last > last:
            if each.backup not in same:
                theirs = [s for s in others if s.backup == each.backup]
                if not _meet(directory, [*mine, *found], theirs):
                    continue
                same.add(each.backup)
            found.append(each)
            last = each.last
    return found


def _meet(directory: Path, some: list[Segment], others: list[Segment]) -> bool:
    return any(
        _holds(directory, segment, link)
        for these, those in ((some, others), (others, some))
        for link in those
        if link.last <= link.base
        for segment in these
    )


def _holds(directory: Path, segment: Segment, link: Segment) -> bool:
    """Return whether a segment holds the last entry of another one."""
    if not segment.first <= link.last <= segment.last:
        return False
    try:
        held = _read(mapped(directory / segment.name), segment)
        return any(fingerprint(each) == link.fingerprint for each in held)
    except (SnapshotError, OSError):
        return False


def older_and_further(
    directory: Path, source: Source, revision: int, cluster: int | None = None
) -> str | None:
    """Return the name of a backup that is older than that of `source`, and of a later revision than
    that one has and `revision`, which was restored from it.

    The cluster was restored between them, or a clock was set back and it is the later one of the
    two: names do not tell.
    """
    _, backups = _backups(directory, cluster)
    (mine,) = (each for each in backups if each.name == source.backup.name)
    reached = max(revision, mine.revision)
    older = [each for each in backups if each < mine and each.revision > reached]
    return max(older, key=lambda each: each.revision).name if older else None


def _backups(directory: Path, wanted: int | None) -> tuple[int, list[Backup]]:
    """Return the id of the cluster and its backups, the oldest first. Raises SnapshotError."""
    names = [each.name for each in directory.iterdir()]
    cluster = _cluster_of(names, wanted)
    of_backups = Names(cluster, 0)
    backups = sorted(each for each in map(of_backups.parse, names) if each is not None)
    if not backups:
        raise SnapshotError(f"{directory} has no backup")
    return cluster, backups


def _cluster_of(names: Iterable[str], wanted: int | None) -> int:
    found = {int(match[1], 16) for name in names if (match := _CLUSTER.fullmatch(name)) is not None}
    if wanted is not None:
        return wanted
    if len(found) > 1:
        ids = ", ".join(f"{each:x}" for each in sorted(found))
        raise SnapshotError(f"files of several clusters: choose one by --cluster-id of {ids}")
    return found.pop() if found else 0


def _read(data: memoryview, segment: Segment) -> Iterator[LogEntry]:
    """Yield the entries of a file. Raises SnapshotError."""
    index = segment.first - 1
    for entry in entries(data, segment.backup):
        index += 1
        if entry[1] != index:
            raise SnapshotError(f"entry {entry[1]} in the place of entry {index}")
        yield entry
    if index != segment.last:
        raise SnapshotError(f"it ends with entry {index}")


def _proposal(payload: bytes, term: int) -> bytes | None:
    """Return what does the same in a restore, None if nothing is to do. Raises ValueError."""
    signed = payload[:1] == bytes((Kind.SIGNED,))
    inner = unsign(payload)[1] if signed else payload
    kind = inner[0] if inner else 0
    if kind in _LEFT_OUT:
        return None
    if kind == Kind.LEASE_EXPIRE:
        # (Only of the leader of that term: see `LeaseExpiry`.)
        expiry = LeaseExpiry.decode(inner[1:])
        if expiry.term != term:
            return None
        return encode(Kind.LEASE_EXPIRE, expiry._replace(term=APPLIED_IN).encode())
    return payload
