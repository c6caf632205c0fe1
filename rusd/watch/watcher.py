"""One watcher, and the stream that it shares with the other watchers of its stream.

Ten thousand idle watchers are normal, so both are small and hold no task, timer or buffer.
"""

from __future__ import annotations

from enum import IntEnum

from rusd.rpc.streams import ResponseStream
from rusd.watch.groups import Group
from rusd.wire.watch_response import watch_id_field


class WatcherState(IntEnum):
    """Where a watcher stands.

    SYNCED -> BLOCKED: an event came and the outlet was full.
    BLOCKED -> UNSYNCED: the outlet drained.
    UNSYNCED -> BLOCKED: the outlet filled again. UNSYNCED -> SYNCED: nothing is left to read.
    SYNCED -> UNSYNCED: a snapshot replaced the store. Any -> CLOSED: canceled, compacted, closed.
    """

    #: Gets every event as it is published.
    SYNCED = 0
    #: Behind; waits for its turn to read history.
    UNSYNCED = 1
    #: Behind; waits for its client to read what was sent.
    BLOCKED = 2
    CLOSED = 3


class StreamState:
    """One stream's way out: its outlet, its watchers, and those among them that wait for it."""

    __slots__ = ("behind", "blocked", "outlet", "watchers")

    def __init__(self, outlet: ResponseStream) -> None:
        self.outlet = outlet
        self.watchers: dict[int, Watcher] = {}
        #: Watchers in state BLOCKED, in the order they came.
        self.blocked: dict[Watcher, None] = {}
        #: Watchers in state UNSYNCED or BLOCKED.
        self.behind = 0


class Watcher:
    """A watcher's identity and position; what it looks at is its `Group`."""

    __slots__ = (
        "fragment",
        "group",
        "idle",
        "next",
        "notify",
        "state",
        "stream",
        "tag",
        "watch_id",
    )

    def __init__(
        self, stream: StreamState, watch_id: int, group: Group, *, fragment: bool, notify: bool
    ) -> None:
        self.stream = stream
        self.watch_id = watch_id
        #: The encoded watch_id field of its responses.
        self.tag = watch_id_field(watch_id)
        self.group = group
        self.state = WatcherState.SYNCED
        #: Behind: the first revision it has not seen. Live: no event below it is wanted, which
        #: matters only while the start revision lies in the future.
        self.next = 0
        self.fragment = fragment
        #: It asked for progress responses ...
        self.notify = notify
        #: ... and nothing was sent to it since the last tick of its stream's timer.
        self.idle = True
