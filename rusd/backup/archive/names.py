"""Names of segments.

    <name of the backup without .db>-b<base>-<first>-<last>-<fingerprint>.log    a segment
    rusd-<cluster id>-<member id>.log.partial              the one that a member is writing

`base`: index of the last entry that the backup contains; `first`, `last`: of the entries in the
segment; `fingerprint`: of its last entry. The first segment of a backup holds the last request that
the backup contains as well (`last` is `base` or below): a log that holds it continues the backup.
"""

import re
from hashlib import sha256
from typing import Final, NamedTuple

from rusd.raft.ports import LogEntry

_SEGMENT: Final = re.compile(
    r"(rusd-[0-9a-f]{16}-[0-9]{8}T[0-9]{6}Z-r[0-9]{1,19})"
    r"-b([0-9]{1,20})-([0-9]{1,20})-([0-9]{1,20})-([0-9a-f]{16})\.log"
)
_DATABASE: Final = ".db"


class Segment(NamedTuple):
    """What a name says of a segment."""

    #: Name of the backup that it continues.
    backup: str
    #: Indexes: the last entry in the backup, the first and the last one in the segment.
    base: int
    first: int
    last: int
    #: Of the last entry.
    fingerprint: str
    name: str


class SegmentNames:
    """The names of segments of one member of one cluster."""

    def __init__(self, cluster_id: int, member_id: int) -> None:
        self._prefix = f"rusd-{cluster_id:016x}-"
        self.partial = f"{self._prefix}{member_id:016x}.log.partial"

    def parse(self, name: str) -> Segment | None:
        """Return what the name of a segment of this cluster says; None for any other name."""
        found = _SEGMENT.fullmatch(name)
        if found is None or not name.startswith(self._prefix):
            return None
        base, first, last = int(found[2]), int(found[3]), int(found[4])
        segment = named(found[1] + _DATABASE, base, first, last, found[5])
        whole = 0 < first <= last and (base < first or last <= base)
        return segment if segment.name == name and whole else None


def named(backup: str, base: int, first: int, last: int, fingerprint: str) -> Segment:
    """Return a segment with its name."""
    name = f"{backup.removesuffix(_DATABASE)}-b{base}-{first}-{last}-{fingerprint}.log"
    return Segment(backup, base, first, last, fingerprint, name)


def fingerprint(entry: LogEntry) -> str:
    """Return what distinguishes an entry from those of other logs at its index.

    An entry with requests has sequence numbers of its own, so it never comes twice.
    """
    command, index, term = entry
    return sha256(b"%d %d %b" % (index, term, command)).hexdigest()[:16]
