"""The replicated state machine: what etcd's requests mean, once Raft has put them in order.

    committed entries -> machine -> (mvcc Writer, leases, members, alarms) -> ONE storage write
                                 -> results for who waits here, events for the watchers

Files: `command` (what a proposal says), `machine` (entries to requests, one write per apply),
`operations`, `compare` and `txn` (puts, deletes, ranges, and txns of them), `leases`, `detached`,
`members`, `alarms` (records beside the keys), `responses` and `result` (answers as bytes),
`identity` (ids), `cost` (what a request may add), `directory` (where the database lies, and its
exchange).

Promises: the position in the log is written with the data, in one atomic write. A refused request
changes nothing. Two members that applied the same entries hold the same bytes. `restore` survives
a crash at any step with either the old state or the new one.

It refuses to know: clocks, randomness, flags, sockets, Raft's roles, and which member it is. What
depends on one of these (a TTL's minimum, an id, "this lease ran out") is put into the proposal by
the member that proposes.
"""
