"""Watch: who watches what, and how every event reaches each of them exactly once, in order.

A client opens a stream and creates watchers on it; a watcher follows a key or a range of keys from
some revision on, without end. The room has two halves that meet at one number, the hub's revision:

* *Live.* After each apply the state machine hands over the new revisions (`WatchHub.publish`).
  `WatcherGroups` finds the watchers of each key in O(log n + matches), an event is encoded once for
  all of them, and every watcher gets one response per revision.
* *Catching up.* A watcher that starts in the past, or whose client does not read fast enough, is a
  laggard: it remembers the next revision it must see and nothing else. `UnsyncedWatchers`
  reads the store's history in slices of a few milliseconds, shares each reading among all laggards
  it concerns, and
  lets a watcher join the live half when its next revision lies above the hub's revision. Both
  halves run on the event loop's one thread, so between that comparison and the joining no revision
  can slip through: no gap, no duplicate, no event out of order.

Promises. The events of a revision are never spread over two responses, unless the watcher asked for
fragments. Created precedes every event of a watcher. A progress response with revision R follows
every event up to R. A slow client costs the bytes its outlet holds and one response more, never a
backlog; it delays nobody else. A watcher overtaken by compaction is told so and ends.

The room does no I/O and starts no task or thread. It reads a `History` (the store), writes encoded
messages to an `Outlet` (the door), and takes time and timers from a `Loop`; all three are ports, so
everything here can be tested with the clock in the test's hand. It refuses to know sockets, gRPC,
Raft, leadership (`rusd/api/watch.py` ends streams of a leaderless member) and permissions.

Source of the behaviour: etcd's watch API (https://etcd.io/docs/v3.6/learning/api/#watch-api) and
its guarantees (https://etcd.io/docs/v3.6/learning/api_guarantees/#watch-apis).
"""

from rusd.watch.hub import WatchHub
from rusd.watch.stream import WatchStream

__all__ = ["WatchHub", "WatchStream"]
