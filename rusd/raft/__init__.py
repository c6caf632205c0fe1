"""Raft: one log, the same on every member, whatever crashes in between.

What goes in are payloads, opaque bytes that a member's clients want applied (`RaftNode.propose`).
What comes out are committed entries, in the same order on every member, for the state machine
(`ports.Machine`), and the machine's results for the calls that wait.

The algorithm is PySyncObj's. As it comes it loses acknowledged writes, reads pickles from the
network and never makes its log durable; so it stands behind a port, without I/O, and every message
to and from it passes a filter.

- `node.py`: `RaftNode`, which the rooms above call; `interface.py`: what they use of it, as small
  protocols
- `driver.py`: asyncio, which does what the core says; `apply.py`: its side of the state machine
- `core/`: one member as a function `(now, inbox) -> Ready`, without I/O
- `read/`: linearizable reads without writing to the log
- `log/`: the durable log
- `snapshots/`: the whole state, for a member that the log cannot bring up to date
- `transport/`: connections between members, their frames, and which process may speak for a member
- `ports.py`: the state machine, the log and Raft's state as protocols; `commands.py`: the bytes of
  an entry; `bodies.py`: those of requests between members; `config.py`: settings; `errors.py`:
  refusals; `ids.py`: where numbers begin in each life; `statistics.py`:
  what is counted
- `force_new_cluster.py`: disaster recovery, while no member runs

Way of a write: `RaftNode.propose` notes it in the core; the driver's next turn calls `Core.step`,
which appends it to the log (or forwards it to the leader) and returns a `Ready`; the driver sends
the entries, flushes the log, and sends what had to wait for that. A later step counts the replies
and returns the entry as committed; the driver applies it and calls back.

Promises, while a minority of members fails in any way short of lying:

- What a proposal was answered with is on the disks of a majority, and is never lost.
- Every committed payload is applied exactly once on every member, restarts included: the machine
  stores its position in the log in the same write as the data.
- A read index is not older than anything acknowledged anywhere before it was asked for, on
  followers too, and on a leader that was deposed without noticing it never resolves.
- A proposal outlives its leader: it is proposed again as soon as it is proven that it was lost, and
  only then. After at most 5 s and two election timeouts it fails; only then its outcome is unknown.
- A member that was away does not disturb a healthy leader; a leader that cannot reach a quorum
  steps down.
- Nothing asserts durability (an acknowledgement, a vote) before the fdatasync that made it true.
- A connection counts as a member's when this member dialled its address, or the owner of that
  address has confirmed it.
- An unexpected error inside ends the process rather than going on with a doubtful state; an
  unexpected message from the network ends that connection only.

Not known here: what a payload means, what etcd is, how the machine stores its state. Waiting work,
bytes under way and the log in memory are bounded (`docs/limits.md`).
"""
