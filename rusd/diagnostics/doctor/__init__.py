"""doctor: asks a cluster everything, and says in words what is wrong, how sure that is, and what to
do.

Facts are gathered by etcd's public API, in two rounds an interval apart; then checks that do no I/O
turn facts into findings. Changes nothing on the members.

Files:
    gather       asks the members; `certificates`: looks at certificates; `clock`: compares clocks
    facts        what was asked
    judge        the table of checks: facts in, findings out
    findings     severity, certainty, text, advice
    membership   checks of members, quorum, leader, versions
    replication  checks of lag, terms, peers, clocks
    storage      checks of alarms, hashes, quota, compaction, disks, descriptors, watchers
    security     checks of certificates, encryption, authentication
    report       what is printed
"""
