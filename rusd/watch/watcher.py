"""Watchers, grouped by subscription, and the state of their streams.

A member holds tens of thousands of idle watchers, so these objects use slots and hold no task,
timer or buffer.
"""

from __future__ import annotations

from typing import NamedTuple

from rusd.base.response_stream import ResponseStream
from rusd.watch.states import WatcherState
from rusd.wire.keyvalue import PUT, Event
from rusd.wire.watch_response import watch_id_field


class Subscription(NamedTuple):
    """Keys and filters of a watcher."""

    key: bytes
    #: End of the range (exclusive); b"" = `key` alone, None = no upper bound.
    end: bytes | None
    prev_kv: bool = False
    no_put: bool = False
    no_delete: bool = False

    def passes(self, event: Event) -> bool:
        """False if a filter drops the event. The event's key is not compared."""
        return not (self.no_put if event.type == PUT else self.no_delete)


class Group:
    """All watchers with one subscription, of any stream. They receive the same bytes."""

    __slots__ = ("behind", "filtered", "subscription", "watchers")

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        self.filtered = subscription.no_put or subscription.no_delete
        #: In order of creation.
        self.watchers: dict[Watcher, None] = {}
        #: Number of watchers that are behind: history is matched only for groups with some.
        self.behind = 0

    def select(self, events: list[Event]) -> list[Event]:
        """Returns the events that pass the filters, in order."""
        if not self.filtered:
            return events
        return [event for event in events if self.subscription.passes(event)]


class StreamState:
    """The response stream of one watch stream, and its watchers."""

    __slots__ = ("blocked", "responses", "watchers")

    def __init__(self, responses: ResponseStream) -> None:
        self.responses = responses
        #: By watch_id.
        self.watchers: dict[int, Watcher] = {}
        #: Watchers in state BLOCKED, in the order of blocking.
        self.blocked: dict[Watcher, None] = {}


class Watcher:
    """Identity and position of a watcher."""

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
        self.state = WatcherState.NEW
        #: Behind: the first revision it has not received. Synced: events of lower revisions are
        #: dropped, which matters only while the start revision lies in the future.
        self.next = 0
        #: Responses may be split (WatchCreateRequest.fragment).
        self.fragment = fragment
        #: It asked for progress responses (WatchCreateRequest.progress_notify).
        self.notify = notify
        #: No event was sent since the last tick of its stream's progress timer.
        self.idle = True
