"""MVCC: every change of every key, addressed by revision, on the storage room.

A *revision* is (main, sub): main counts changing transactions (a fresh store is at 1), sub the
changes within one. The store keeps, in RocksDB families:

- KEY: revision -> encoded `mvccpb.KeyValue`, exactly the bytes etcd keeps in its bucket "key"; a
  deletion is a *tombstone*, a revision key with `t` appended and a KeyValue of the key alone.
  Watchers catch up from it, hashes are taken over it, older revisions are read from it.
- CURRENT: user key -> the encoded KeyValue, framed as field 2 of a message, for live keys. Reads
  at the current revision are one scan here; answers are these bytes joined, without encoding.
- INDEX: user key and revision -> put or tombstone: which revisions a key has. A tombstone ends a
  *generation*; the next put starts another with version 1.

META also holds the marks of compactions and the size of the store by etcd's measure (`size`).

Nothing is kept in memory in proportion to keys or history, and nothing is scanned at start.

Data passes: `Store.begin` gives a `Writer` for one apply; its `Txn`s collect changes in one batch
and an overlay that later reads of the same writer see; `commit` writes the batch and moves the
store's revision. `Store.range` and the other reads see committed state only.

A `BulkDelete` deletes very many keys at one revision in slices: most rows are written before the
commit (`uncommitted`), and events are only counted (`BulkEvents`); watchers read them from history.

This room knows nothing of Raft, sockets, leases' meaning or who asks. Long work (ranges, hashes,
compaction) is offered as generators that yield after each slice.
"""
