"""etcd's robustness suite: random traffic, a fault, then its validation of all that clients saw.

    scenarios.py    which scenarios run with which fault, and which cannot run
    journal.py      the requests in a member's log, for the suite's report (in place of etcd's WAL)
    runs.py         runs a scenario with a fault; counts what its output says
    rounds.py       runs all cases, and keeps the results
    table.py        the section of docs/compatibility.md

The suite validates with a model of etcd: linearizability of all requests, reads of old revisions,
and the guarantees of watches (ordered, unique, atomic, resumable, reliable, bookmarkable; previous
values and `IsCreate`). The Go files of `../go` are the only difference: they read rusd's journal in
place of etcd's WAL, choose one fault in place of a random one, apply a network fault to all peer
connections of a member, and lower the demanded number of requests a second.
"""
