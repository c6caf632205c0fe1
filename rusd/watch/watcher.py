"""One watcher, and the lane that it shares with the other watchers of its stream.

Ten thousand idle watchers are normal, so both are small and hold no task, timer or buffer.
"""

from __future__ import annotations

from enum import IntEnum

from rusd.rpc.streams import ResponseStream
from rusd.watch.groups import Group
from rusd.wire.watch_response import watch_id_field


class Phase(IntEnum):
    """Where a watcher stands.

    LIVE -> PARKED: an event came and the outlet was full. PARKED -> QUEUED: the outlet drained.
    QUEUED -> PARKED: the outlet filled again. QUEUED -> LIVE: nothing is left to read.
    LIVE -> QUEUED: a snapshot replaced the store. Any -> GONE: canceled, compacted, closed.
    """

    #: Gets every event as it is published.
    LIVE = 0
    #: Behind; waits for its turn to read history.
    QUEUED = 1
    #: Behind; waits for its client to read what was sent.
    PARKED = 2
    GONE = 3


class Lane:
    """One stream's way out: its outlet, its watchers, and those among them that wait for it."""

    __slots__ = ("behind", "outlet", "parked", "watchers")

    def __init__(self, outlet: ResponseStream) -> None:
        self.outlet = outlet
        self.watchers: dict[int, Watcher] = {}
        #: Watchers in phase PARKED, in the order they came.
        self.parked: dict[Watcher, None] = {}
        #: Watchers in phase QUEUED or PARKED.
        self.behind = 0


class Watcher:
    """A watcher's identity and position; what it looks at is its `Group`."""

    __slots__ = ("fragment", "group", "idle", "lane", "next", "notify", "phase", "tag", "watch_id")

    def __init__(
        self, lane: Lane, watch_id: int, group: Group, *, fragment: bool, notify: bool
    ) -> None:
        self.lane = lane
        self.watch_id = watch_id
        #: The encoded watch_id field of its responses.
        self.tag = watch_id_field(watch_id)
        self.group = group
        self.phase = Phase.LIVE
        #: Behind: the first revision it has not seen. Live: no event below it is wanted, which
        #: matters only while the start revision lies in the future.
        self.next = 0
        self.fragment = fragment
        #: It asked for progress responses ...
        self.notify = notify
        #: ... and nothing was sent to it since the last tick of its stream's timer.
        self.idle = True
