"""The states of a watcher, and the transitions between them.

Theory of operation. A synced watcher has received every published revision and receives the next
one as it is published. Every other watcher is *behind*: it stores one number, the first revision it
has not received (`Watcher.next`), and no events. An unsynced watcher is in a queue and reads
history in its turn. A blocked watcher waits until its client has read enough of what was sent.
Delivery of a published revision to a synced watcher changes no state, so the fan-out looks at the
state and never at this table.

`UnsyncedWatchers.move` is the only place that changes a state, and it keeps what the states imply:

    unsynced     in the queue of unsynced watchers
    blocked      in `blocked` of its stream
    both         counted in `behind` of its group and of the hub

Rules for a change of this file: an event that a state does not list is a bug, and `move` raises
KeyError. Each row names etcd's behaviour (server/storage/mvcc/watchable_store.go) or says how rusd
differs.
"""

from enum import Enum, auto


class WatcherState(Enum):
    """State of a watcher; the names are etcd's, except that its *victim* is blocked here."""

    NEW = auto()
    SYNCED = auto()
    UNSYNCED = auto()
    BLOCKED = auto()
    CLOSED = auto()

    # States are looked up in dictionaries; Enum's own hash is Python code.
    __hash__ = object.__hash__


class WatcherEvent(Enum):
    """Event that changes a watcher's state."""

    #: Created with start revision 0 or above the published revision.
    START_LIVE = auto()
    #: Created with a start revision that is published.
    START_PAST = auto()
    #: A snapshot replaced the store, or a revision has too many events to publish at once.
    READ_HISTORY = auto()
    #: Events are due, and the response stream is not ready.
    BUFFER_FULL = auto()
    #: The response stream is ready again.
    DRAINED = auto()
    #: Revisions were delivered from history; more are published.
    READ_ON = auto()
    #: Every published revision was delivered.
    CAUGHT_UP = auto()
    #: The next revision was compacted.
    COMPACTED = auto()
    #: The client canceled the watcher.
    CANCELED = auto()
    #: The stream ended.
    STREAM_CLOSED = auto()

    __hash__ = object.__hash__


_NEW, _SYNCED, _UNSYNCED, _BLOCKED, _CLOSED = WatcherState
_Event = WatcherEvent

#: State -> event -> next state.
TRANSITIONS: dict[WatcherState, dict[WatcherEvent, WatcherState]] = {
    _NEW: {
        # etcd: watch() adds to the synced group if startRev is 0 or above the current revision.
        _Event.START_LIVE: _SYNCED,
        # etcd: watch() adds to the unsynced group and counts a slow watcher.
        _Event.START_PAST: _UNSYNCED,
    },
    _SYNCED: {
        # etcd: notify() makes it a victim, which stores the events; rusd stores the revision only.
        _Event.BUFFER_FULL: _BLOCKED,
        # etcd: Restore() moves all synced watchers to the unsynced group. etcd publishes a revision
        # of any size at once; rusd reads a long one from history in slices.
        _Event.READ_HISTORY: _UNSYNCED,
        # etcd: cancelWatcher() removes it from its group; the stream answers `canceled`.
        _Event.CANCELED: _CLOSED,
        # etcd: closing the stream cancels its watchers without a response.
        _Event.STREAM_CLOSED: _CLOSED,
    },
    _UNSYNCED: {
        # etcd: syncWatchers() makes it a victim.
        _Event.BUFFER_FULL: _BLOCKED,
        # etcd: it stays unsynced while the batch has a moreRev. rusd puts it behind the others.
        _Event.READ_ON: _UNSYNCED,
        # etcd: syncWatchers() moves it to the synced group.
        _Event.CAUGHT_UP: _SYNCED,
        # etcd: choose() sends compact_revision and removes it.
        _Event.COMPACTED: _CLOSED,
        _Event.CANCELED: _CLOSED,
        _Event.STREAM_CLOSED: _CLOSED,
    },
    _BLOCKED: {
        # etcd: moveVictims() sends the stored events, then moves it to the unsynced group if more
        # is published, else to the synced group. rusd reads the stored revision again, so always
        # unsynced. A compaction that overtook it is found then, as in etcd.
        _Event.DRAINED: _UNSYNCED,
        _Event.CANCELED: _CLOSED,
        _Event.STREAM_CLOSED: _CLOSED,
    },
    _CLOSED: {},
}

#: States of watchers that have not received every published revision.
BEHIND = frozenset({_UNSYNCED, _BLOCKED})
