"""scheduled: backups that need nobody, for `--backup-interval`.

Files:
    names       names of backups, and of unfinished ones
    schedule    when one is due, which are superseded, whether one is overdue: no I/O
    place       where they are kept: the port, and a directory
    bucket      a bucket of an S3-compatible store, the only file that needs boto3
    drafts      the unfinished file of a member
    verify      a process that looks through a finished file
    backups     makes them while this member leads

Data passes: `Backups` lists the place and asks `Schedule` how long to wait. When a backup is due it
takes a file of `SnapshotFiles`, copies it to a draft, has a process verify the draft, gives it its
name, and removes what `Schedule` calls superseded.

Promises:

- A file with the name of a backup is whole: it was synced and verified before it was named.
- It holds everything that was acknowledged before the time in its name.
- Nothing is removed but files that such a member named, of this cluster, and only after a newer
  backup was verified: the last good one always stays.
- A full disk costs the backup, never the member. What a killed member left goes at its next start.

It knows no flag, metric or page.
"""

from rusd.backup.scheduled.backups import Backups
from rusd.backup.scheduled.names import Backup, Names
from rusd.backup.scheduled.place import Directory, Place
from rusd.backup.scheduled.schedule import Retention, Schedule

__all__ = ["Backup", "Backups", "Directory", "Names", "Place", "Retention", "Schedule"]
