"""Whole Raft members in virtual time: many failures a second, each of them repeatable.

    python -m tests.sim --seeds 1000            many schedules
    python -m tests.sim --seed 17 --trace       one of them, step by step

What runs is rusd's own code: `RaftNode` with its driver, core, journal and snapshots, and the state
machine of `rusd/state`. What surrounds it is made up, and drawn from one seed:

- `clock.py`: an asyncio loop in which time passes only when nothing else is left to do
- `network.py`: connections as TCP makes them: order within one, breaks, silence, partitions in one
  direction or both, half-open ends
- `disk.py`: the journal forgets what was not flushed, or tears it; disks may be slow or full
- `directories.py`: where their files lie, and how they are removed
- `engine.py`: the storage engine in memory, with RocksDB's promises about a crash
- `member.py`: a machine with its clock, its disk and the process that comes and goes
- `world.py`: members, clients and what goes wrong, from beginning to end
- `invariants.py`: Raft's invariants, looked at after every step
- `mutants.py`: the remedies of `rusd/raft` broken on purpose, each of which must be noticed

The members' code is not changed for it: `SimDriver` stands still while its host does, and
`patches.py` replaces what the members reach for (the journal's disk, peers, the engine, random
numbers). The core's time is the driver's clock.
"""
