"""backup: a member's state as a file that etcd understands, and back.

Files:
    etcd_records    records of etcd's database as bytes: bucket names, keys, values
    export          the state of a database to the buckets of such a file
    kept_pages      what an earlier file has of the state as it is now
    __main__        a process that writes one file from one checkpoint
    own_process     programs of this room in processes of their own
    in_process      their side of it
    scheduled       backups at an interval, by the leader
    archive         the committed entries between them
    snapshot_files  checkpoints and their files for `Maintenance.Snapshot`
    snapshot_check  a file with its hash, as `snapshot save` leaves it
    restore         the records of such a file to the state of a new cluster
    restore_history the rows of keys among them
    etcd_directory  the data directory of a stopped etcd: its database, and what its log has beyond
    etcd_requests   requests of etcd's log as proposals
    errors          SnapshotError

Data passes: `SnapshotFiles` makes a checkpoint of the live database, lets a process of its own
write the file from it, and opens the file for its readers, which read it while it grows. The event
loop and the interpreter lock of the member take no part: a large file costs the calls that are
served meanwhile a share of the machine, and nothing else.

Promises:

- A file holds the state of one moment: all that was applied when the checkpoint was made, and
  nothing of what came later.
- Keys, revisions, tombstones, leases, users, roles, alarms and members are etcd's own records:
  `etcdutl snapshot restore` and etcd read them, with equal hashes.
- Memory does not grow with the keys. The disk holds the file as long as it is read, a large one for
  two hours more if it has the room, and keeps a reserve for the member.

Callers import its files, so that the process that writes one does not load what serves them.

It knows no RPC; schedules are in `scheduled` and `archive` alone. It reads only a database that
nobody else has open.
"""
