"""Watch: delivers every event to every matching watcher exactly once and in order.

A client opens a stream and creates watchers on it. A watcher follows a key or a range of keys from
a start revision on, without end. Each watcher is in one of the states of `states`; the two that
receive events meet at one number, the published revision of the hub:

* *Synced.* After each apply the state machine hands over the new revisions (`WatchHub.publish`).
  `WatcherGroups` finds the watchers of each key in O(log n + matches), an event is encoded once for
  all of them, and each watcher receives one response for each revision.
* *Unsynced.* A watcher that starts in the past, or whose client reads too slowly, stores the next
  revision it has to receive and no events. `UnsyncedWatchers` reads history in slices of a few
  milliseconds, shares each reading among all unsynced watchers it concerns, and makes a watcher
  synced when its next revision is above the published one. Both run on the event loop's thread, so
  no revision can be published between that comparison and the change of state.

Files:
    hub            all watchers and streams of a member; delivery of published revisions
    stream         requests of one client stream, progress responses
    states         states and events of a watcher: the transition table
    unsynced       changes of state, and history for watchers that are behind
    watcher        watcher, group, subscription, stream state
    groups         the groups that match a key
    interval_map   intervals that contain a key
    encoder        events encoded once for many watchers
    ports          history and headers; the hub as a stream uses it
    errors         refusals of this room

Data passes: api/watch -> stream -> hub; state -> hub (`publish`, `restored`); mvcc history ->
unsynced; hub and unsynced -> encoder -> the `ResponseStream`.

Guarantees. The events of a revision are in one response, unless the watcher asked for fragments.
`created` precedes every event of a watcher. A progress response with revision R follows every event
up to R. A slow client costs the bytes of its response stream and one response more, and delays no
other client. A watcher whose next revision was compacted receives the compact revision and ends.

The room does no I/O and starts no task or thread. It knows no sockets, gRPC, Raft, leadership
(`rusd/api/watch.py` ends streams of a member without a leader) or permissions.

Source: etcd's watch API (https://etcd.io/docs/v3.6/learning/api/#watch-api) and its guarantees
(https://etcd.io/docs/v3.6/learning/api_guarantees/#watch-apis).
"""

from rusd.watch.hub import WatchHub
from rusd.watch.stream import WatchStream

__all__ = ["WatchHub", "WatchStream"]
