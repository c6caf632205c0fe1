"""The durable log of one member.

- `journal.py`: `Journal`, the log in memory and on disk: one write and one fdatasync a flush
- `segments.py`: the files, of a fixed size, and the lock of the directory
- `records.py`: what a flush writes, and how a torn write is told from damage
- `recovery.py`: the log as the files have it, at start
- `reconcile.py`: makes the log continue from the state machine's position
- `compaction.py`: shortens the log, once the state is durable

What was added is durable when `flush` returns, and not before. A flush may run in a thread, if
nothing else uses the journal meanwhile. After a failed write the journal refuses every further one.

The room knows neither what an entry means nor when it is committed.
"""
