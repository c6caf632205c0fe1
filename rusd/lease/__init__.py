"""Leases: their deadlines on the leader, and renewals on any member.

Which leases exist is replicated state (`rusd/state/leases.py`). When a lease expires is decided by
the leader: it keeps the deadlines and proposes LEASE_EXPIRE like any other request, so all members
remove the lease and its keys at the same revision.

Files:
    lessor   the leader's loop over deadlines; renewals and TTL queries from any member
    expiry   deadlines of all leases, with the time passed in; no I/O
    counts   what happened, for metrics
    ids      ids for leases whose client chose none
    ports    Raft node and replicated leases, as this room uses them
    errors   refusals

Data passes: state -> lessor (granted, revoked, restored); lessor -> expiry -> proposals. A renewal
goes from api/lease to the lessor; a follower's lessor asks the leader's over the peer transport;
the leader renews the deadline, and confirms its leadership by a read index before, unless it did so
a moment ago.

Guarantees. A lease is not revoked before its TTL has passed since its grant or its last answered
renewal, also across a change of leader: a new leader starts every lease anew and adds an election
timeout. It may live longer. Only a leader that a quorum confirmed in the last tenth of an election
timeout answers a renewal: until then a deposed leader may renew a lease that its successor has
revoked, as etcd's leader may until it steps down.

The room knows no gRPC and no storage. Deadlines are not replicated and not stored.

Source: etcd's lease API (https://etcd.io/docs/v3.6/learning/api/#lease-api); server/lease/lessor.go
for the pace of revocations.
"""
