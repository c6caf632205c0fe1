"""Names of backups.

    rusd-<cluster id>-<UTC time>-r<revision>.db    a backup, verified
    rusd-<cluster id>-<member id>.partial          the one that a member is writing

The cluster's id keeps clusters apart that share a directory. A restored cluster has the id of the
one before if its token and peer URLs are the same, and then goes on with its backups.
"""

import re
from datetime import UTC, datetime
from typing import NamedTuple

#: Of the time in a name.
_TIME = "%Y%m%dT%H%M%SZ"
_BACKUP = re.compile(r"rusd-([0-9a-f]{16})-([0-9]{8}T[0-9]{6}Z)-r([0-9]{1,19})\.db")
_PARTIAL = re.compile(r"rusd-([0-9a-f]{16})-([0-9a-f]{16})(?:\.log)?\.partial")


class Backup(NamedTuple):
    """What a name says of a backup. In the order of their times, then revisions."""

    #: Unix time in whole seconds: all that was acknowledged before is in it.
    time: int
    revision: int
    name: str


class Names:
    """The names of one member of one cluster."""

    def __init__(self, cluster_id: int, member_id: int) -> None:
        self._cluster = f"{cluster_id:016x}"
        #: What all names of the cluster begin with.
        self.prefix = f"rusd-{self._cluster}-"
        self.partial = f"{self.prefix}{member_id:016x}.partial"

    def backup(self, time: int, revision: int) -> Backup:
        """Return the backup of this time and revision, with its name."""
        stamp = datetime.fromtimestamp(time, UTC).strftime(_TIME)
        return Backup(time, revision, f"{self.prefix}{stamp}-r{revision}.db")

    def parse(self, name: str) -> Backup | None:
        """Return what the name of a backup of this cluster says; None for any other name."""
        found = _BACKUP.fullmatch(name)
        if found is None or found[1] != self._cluster:
            return None
        try:
            time = datetime.strptime(found[2], _TIME).replace(tzinfo=UTC)
        except ValueError:
            return None
        backup = self.backup(int(time.timestamp()), int(found[3]))
        return backup if backup.name == name else None

    def is_partial(self, name: str) -> bool:
        """Return whether this is the name of an unfinished backup, or segment of the archive, of
        any member of this cluster.
        """
        found = _PARTIAL.fullmatch(name)
        return found is not None and found[1] == self._cluster
