"""Background work of a member on its store and its disks.

`compactor` removes superseded revisions in slices after a compaction was applied: on every member,
outside Raft, since it changes nothing that a client can read. `auto_compaction` proposes
compactions on the leader (`--auto-compaction-mode`, `--auto-compaction-retention`).
`corruption_check` asks the other members for hashes of their keys and raises the alarm CORRUPT;
`hash_comparison` holds the rules of that, without I/O. `disk_space` measures free space,
`leadership_transfer` moves leadership away from a member whose disk is nearly full.

Knows no socket and no gRPC, and starts no task but the compactor's: the member runs the rest.
"""
