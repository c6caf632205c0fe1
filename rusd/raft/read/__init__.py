"""Linearizable reads without writing to the log (read index, Raft thesis 6.4).

- `linearizable.py`: `LinearizableReads`, the messages between members
- `rounds.py`: the leader's side, which confirms its commit index with a quorum
- `waiting.py`: every member's side, which waits for the confirmed index to be applied

A read passes `add` to a round of the leader, back with an index, and is released once that index is
applied. No clock, socket, disk or future here: the core calls in, and passes the messages and the
released reads on. What a read returns is not known here.
"""
