"""One Raft member as a function `(now, inbox) -> Ready`, without I/O.

- `core.py`: `Core`, which a driver steps; `ready.py`: `Ready`, what a step demands, field by field
  with what must be durable before what
- `algorithm.py`: the port of the algorithm; `syncobj.py`: PySyncObj behind it; `filters.py`: what
  of a message PySyncObj may see, where each check closes a way to lose writes; `messages.py`: its
  dicts as frames, and back
- `campaign.py`, `election.py`: PreVote, leader stickiness, and when to campaign
- `transfer.py`: leadership transfer
- `proposals.py`: the proposals that calls wait for; `group_commit.py`: all of a step in one entry,
  or one message to the leader; `commit_notice.py`: when followers learn of a commit
- `committed.py`: entries on their way through the state machine, and its results back
- `membership.py`, `conf_change.py`: the members that count, and the order of ConfChanges
- `quarantine.py`: a member whose disk may hold less than it has acknowledged
- `term_limit.py`: how far a message may raise the term
- `clock.py`: time in which a member's stalls do not count
- `outbox.py`: messages sorted by whether they wait for the flush

Messages and calls go in, a `Ready` comes out; the driver does the work in its order and reports
what was applied. The same messages at the same times give the same result: time, random numbers and
the log are handed in. No asyncio, socket, file or thread here; the log is changed in memory only.
`tests/testscripts/raft` shows it as dialogues.

Linearizable reads are in `read`, snapshots in `snapshots`; here they are only called.
"""
