"""The clock of leases: only the leader runs it.

Which leases exist is replicated state (`rusd/state/leases.py`). When one runs out is the leader's
judgement: `expiry` keeps the deadlines (pure: the time is handed in), `keeper` asks it twice a
second what is due and proposes the revocations like any other request, so that all members remove
the lease and its keys at the same revision. `ids` makes lease ids for clients that chose none.

Promises: a lease is never revoked before its TTL has passed since its grant or last answered
renewal, also over a change of leader (the new one starts every lease anew, with an election timeout
on top). It may live longer. A renewal is answered only by a leader that a quorum confirmed.

The way of a renewal: api/lease -> keeper; on a follower over the peer transport to the leader's
keeper; there a read-index round, then `expiry`. This room knows no gRPC and no storage.
"""
