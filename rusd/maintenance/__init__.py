"""What a member does for its store in the background: physical and automatic compaction.

`compactor` removes superseded revisions, slice by slice, after a compaction was applied; every
member does this for itself, outside Raft, since it changes nothing that a client can read.
`autocompact` decides, on the leader only, when a compaction is proposed (`--auto-compaction-mode`
and `--auto-compaction-retention`). `handover` moves leadership away from a member whose disk is
nearly full. None of them knows sockets or gRPC; the member drives them.
"""
