"""What a member does for its store in the background: physical and automatic compaction.

`compactor` removes superseded revisions, slice by slice, after a compaction was applied; every
member does this for itself, outside Raft, since it changes nothing that a client can read.
`autocompact` decides, on the leader only, when a compaction is proposed (`--auto-compaction-mode`
and `--auto-compaction-retention`). Neither knows sockets or gRPC; both are driven by the member.
"""
