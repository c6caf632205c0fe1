"""MVCC: every change of every key, addressed by revision, on the storage room.

A *revision* is (main, sub): main counts changing transactions (1 in a fresh store), sub counts the
changes within one. RocksDB families:

- KEY: revision -> encoded `mvccpb.KeyValue`, exactly the bytes of etcd's bucket "key". A deletion
  is a *tombstone*: a revision key with `t` appended, and a KeyValue that holds only the key.
  Watchers read history from it, hashes cover it, reads at older revisions use it.
- CURRENT: user key -> the encoded KeyValue, framed as field 2 of a message, for live keys. A read
  at the current revision is one scan here; responses join these bytes without encoding.
- INDEX: user key and revision -> put or tombstone: the revisions of a key. A tombstone ends a
  *generation*; the next put starts another with version 1.
- META: marks of compactions, and the size of the store by etcd's measure.

Files:
    store            committed state: reads, history, hashes, compaction
    writer           uncommitted changes of one apply; one `Txn` for each revision
    overlay          changes of a writer over the committed state; events of a revision
    uncommitted      rows of a long apply that are written before its commit
    bulk_delete      deletion of many keys at one revision, in slices
    range_query      etcd's rules for ranges, over any source of rows
    rows             sources of rows: live keys, history, a writer's overlay
    key_counts       numbers of live keys in intervals, kept by blocks
    read_view        the committed state of one moment, for reads that take many slices
    history          events from a revision on
    key_versions     the changes of one key that can still be read
    compaction       compact revision, and removal of superseded versions
    hash             HashKV and other checksums
    counts           operations since the start, for metrics
    size             bytes in use and allocated, by etcd's measure
    revision         encoding of revisions and of index keys
    interval         etcd's range_end conventions
    ports            rows, and the committed store as a writer uses it
    errors           refusals

Data passes: `Store.begin` returns a `Writer` for one apply. Its `Txn`s collect changes in one batch
and in an overlay that later reads of the same writer see; `commit` writes the batch and advances
the store's revision. `Store.range` and the other reads see committed state only.

Guarantees. A revision becomes visible as a whole, at the commit. The encodings of KEY equal etcd's,
so hashes agree. Apart from caches with a limit, no memory grows with keys or history, and a start
scans nothing. Long work (ranges, counts, hashes, compaction) is a generator that yields between
slices.

The room knows no Raft, no sockets, no meaning of leases and no callers.
"""
