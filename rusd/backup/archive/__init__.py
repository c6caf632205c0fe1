"""archive: the committed entries behind the last backup, for `--backup-archive-interval`.

Files:
    names       names of segments
    segment     the bytes of a segment: entries with checksums
    chain       which segments continue a backup without a gap: no I/O
    archiver    writes segments while this member leads
    replay      a backup and its segments as a source of `rusdutl snapshot restore`

Data passes: a segment belongs to the newest backup of its time. `Archiver` takes entries that are
committed and applied here from Raft's log, writes them to a draft in a thread, and puts the draft
under the name of a segment: beside the backup, in the same place. With the next backup it goes on
behind that one. A restore takes the newest backup at or below a revision and applies its segments.

Promises:

- A file with the name of a segment is whole: it was synced before it was named, and a restore
  compares its SHA-256.
- A restore uses entries without a gap, of terms that never decrease, or refuses.
- A leader continues the segments of another only if its own log holds their last entry: same index,
  term and bytes. Otherwise it asks for a new backup and begins behind that. A restored cluster,
  whose log begins anew, never continues the segments of the cluster before.
- Neither writes nor the compaction of Raft's log wait for the archive.
"""

from rusd.backup.archive.archiver import Archiver
from rusd.backup.archive.names import SegmentNames

__all__ = ["Archiver", "SegmentNames"]
