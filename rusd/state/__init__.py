"""The replicated state machine: applies etcd's requests in the order of Raft's log.

    committed entries -> machine -> commands -> (mvcc Writer, leases, members, users, alarms)
                                 -> ONE storage write
                                 -> results for waiting clients, events for watchers

Files:
    machine             the state machine: apply, checkpoint, restore
    entry_apply         one apply: entries to one storage write, in slices where long
    commands            dispatch of a proposal to its handler, by kind
    key_commands, lease_commands, cluster_commands, auth_commands
                        handlers of each kind
    permissions         which permissions a request needs
    context             what all handlers share during an apply
    command             proposals: kinds and their encoding
    write_txn           puts, deletes and ranges of one revision, with their lease effects
    txn, compare        txns: conditions, checks, execution
    lease_detachments   keys that a range deletion detaches from their leases
    leases, members, alarms, positions, auth_records
                        records beside the keys, in memory and in families of their own
    listeners           what the machine reports after a commit
    result              the result of a request
    identity            member and cluster ids
    cost                bytes that a request may add, for the quota
    database_directory  the live database directory, and its replacement by a snapshot
    ports               keys as a txn reads them
    interface           what the rooms above use of the machine
    errors              refusals

Guarantees. The log position is written with the data, in one atomic write. A refused request
changes nothing. Two members that applied the same entries hold the same bytes. A crash during
`restore` leaves the old state or the new one.

The room knows no clocks, randomness, flags, sockets or Raft roles, and not which member it is. The
proposing member puts whatever depends on them (minimum TTL, ids, that a lease expired) into the
proposal.
"""
