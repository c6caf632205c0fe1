"""etcd_wal: the write-ahead log of an etcd member, read.

Files:
    fields      protobuf messages as numbered fields
    records     one segment to its records
    log         the records of all segments to the entries of the log
    errors      WalError

Data passes: `read_log` takes the segments (bytes, or mapped files) in their order and the index
that the database has applied. It gives the log's term, commit index and members' ids, and where
each entry above that index lies; `Log.entries` decodes these one after the other.

Promises:

- Memory grows with the number of entries above the given index (some tens of bytes each) and with
  the size of the largest, not with the size of the log.
- A torn last record is dropped, as etcd does. Damage before the end is a WalError, also where etcd
  would take it for the end of the log: records behind the damage may have been acknowledged.

It opens no file, changes nothing, and does not know what an entry means.

Source: etcd 3.7 (`server/storage/wal`, `walpb/record.proto`) and raft (`raftpb/raft.proto`).
"""

from rusd.etcd_wal.errors import WalError
from rusd.etcd_wal.log import Entry, Log, read_log
from rusd.etcd_wal.records import Segment

__all__ = ["Entry", "Log", "Segment", "WalError", "read_log"]
