"""Which segments continue a backup without a gap: rules without I/O."""

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import NamedTuple

from rusd.backup.archive.names import Segment
from rusd.backup.errors import SnapshotError
from rusd.raft.ports import LogEntry, Position


class Chain(NamedTuple):
    """A backup and the entries behind it that are archived without a gap."""

    #: Name of the backup.
    backup: str
    #: Index of the last entry in the backup.
    base: int
    #: Index of the last entry that is archived; `base` without any.
    last: int


def continued(
    backups: Collection[str], segments: Iterable[Segment], holds: Callable[[Segment], bool]
) -> Chain | None:
    """Return the chain that a log continues, None without one, or if a newer backup has none.

    `backups`: names of those that are there. `holds`: whether the log holds the last entry of a
    segment.
    """
    by_backup: dict[str, list[Segment]] = {}
    for segment in segments:
        by_backup.setdefault(segment.backup, []).append(segment)
    # (Names of backups sort by time.)
    for name in sorted(backups, reverse=True):
        if name not in by_backup:
            # A restore begins with it, and would find nothing behind it.
            return None
        chain = reach(name, by_backup[name])
        newest = max(by_backup[name], key=lambda each: each.last)
        if chain.last == max(newest.last, chain.base) and holds(newest):
            return chain
    return None


def reach(backup: str, segments: Iterable[Segment]) -> Chain:
    """Return how far segments of a backup go without a gap. There is one at least."""
    mine = sorted(segments, key=lambda each: (each.first, each.last))
    base = last = mine[0].base
    for segment in mine:
        if segment.first > last + 1 or segment.base != base:
            break
        last = max(last, segment.last)
    return Chain(backup, base, last)


def orphans(backups: Collection[str], segments: Iterable[Segment]) -> list[Segment]:
    """Return the segments of backups that are gone: nothing can be restored from them."""
    return [each for each in segments if each.backup not in backups]


def without_gap(base: Position, entries: Iterable[LogEntry]) -> Iterator[LogEntry]:
    """Yield the entries behind `base`, each index once. Raises SnapshotError for a gap, for a term
    below the one before, and for entries of two logs: of those with the same last entry all before
    are equal (Raft's log matching).
    """
    last, term = base
    command: bytes | None = None
    for entry in entries:
        content, index, own = entry
        if index < last:
            continue
        if index == last:
            if own != term or command not in (None, content):
                raise SnapshotError(f"entry {index} is of another log: term {own}, and {term}")
            continue
        if index > last + 1:
            raise SnapshotError(f"the archive has a gap: no entries {last + 1} to {index - 1}")
        if own < term:
            raise SnapshotError(f"entry {index} has term {own}, below term {term} before it")
        last, term, command = index, own, content
        yield entry
