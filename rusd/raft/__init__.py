"""Raft: one log, the same on every member, whatever crashes in between.

What goes in are payloads, opaque bytes that a member's clients want applied (`RaftNode.propose`).
What comes out are committed entries, handed in the same order on every member to the state machine
(`ports.Machine`), and the machine's results, handed to whoever waits for them.

The algorithm is PySyncObj's. As it comes it loses acknowledged writes, reads pickles from the
network and never makes its log durable; so it is used as a core without I/O, every message to and
from it passes a filter, and all that touches disk, network and clock is ours:

- `node.py`: `RaftNode`, what the rooms above call
- `turn.py`: the loop *turn* that drives everything, in the order that makes it safe
- `core.py`: PySyncObj's SyncObj with its transport, journal, apply loop and compaction replaced
- `filters.py`: what of a message PySyncObj may see; each check closes a way to lose writes
- `election.py`, `campaign.py`: when to campaign: PreVote, stickiness, and at once when the leader's
  connection breaks
- `proposals.py`, `submission.py`: group commit, forwarding, numbers that find the waiting call
  again
- `applying.py`: committed entries to the machine, its results to the waiting calls
- `read_index.py`, `reads.py`, `reading.py`: linearizable reads without writing to the log
- `journal.py`, `recovery.py`, `records.py`, `segments.py`: the durable log: one write and one
  fdatasync a turn; `compaction.py` shortens it
- `peers.py`, `connection.py`, `frames.py`: connections between members and what a frame must look
  like; `belonging.py`: whose an accepted connection is; `strangers.py`: how many may be nobody's;
  `terms.py`: how far a frame may take the term
- `lives.py`, `handshake.py`, `quarantine.py`: data directories that were lost or are older copies,
  and what keeps their members from counting
- `snapshots.py`, `catchup.py`: the state itself for a member that the log cannot bring up to date
- `asks.py`: small questions between members, for the rooms above; `question.py`, `joining.py`: one
  question before any hello
- `clock.py`: time in which a member's stalls do not count, for all that ends by time
- `numbers.py`: where the numbers of questions and proposals begin in each life

Promises, while a minority of members fails in any way short of lying:

- What a proposal's future resolved with is on the disks of a majority, and is never lost.
- Every committed payload is applied exactly once on every member, restarts included: the machine
  stores its position in the log in the same write as the data.
- A read index is not older than anything acknowledged anywhere before it was asked for, on
  followers too, and on a leader that was deposed without noticing it never resolves.
- A proposal outlives its leader: it is proposed again as soon as it is proven that it was lost, and
  only then. After at most 5 s and two election timeouts its future fails; then, and only then, its
  outcome is unknown.
- A member that was away does not disturb a healthy leader; a leader that cannot reach a quorum
  steps down.
- Nothing asserts durability (an acknowledgement, a vote) before the fdatasync that made it true.
- A connection counts as a member's when this member dialled its address, or the owner of that
  address has confirmed it.
- Anything unexpected inside ends the process rather than going on with a doubtful state; anything
  unexpected from the network ends that connection only.

The room refuses to know what a payload means, what etcd is, and how the machine stores its state.
Waiting work, bytes under way and the log in memory are bounded.
"""
