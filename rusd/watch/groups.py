"""Who watches a key: groups of like watchers, found by key or by range.

Watchers that look at the same keys with the same filters receive the same bytes, so they form one
group and matching, filtering and encoding are done once for all of them. Groups of single keys lie
in a dictionary, groups of ranges in an interval map.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rusd.watch.interval_map import IntervalMap
from rusd.wire.keyvalue import PUT, Event

if TYPE_CHECKING:
    from rusd.watch.watcher import Watcher


class Subscription(NamedTuple):
    """What a watcher looks at."""

    key: bytes
    #: The first key above the range; b"" = `key` alone, None = no upper bound.
    end: bytes | None
    prev_kv: bool = False
    no_put: bool = False
    no_delete: bool = False

    def wants(self, event: Event) -> bool:
        """False if a filter drops the event (its key is not looked at)."""
        return not (self.no_put if event.type == PUT else self.no_delete)


class Group:
    """All watchers with one subscription, whichever stream they are on."""

    __slots__ = ("behind", "filtered", "subscription", "watchers")

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        self.filtered = subscription.no_put or subscription.no_delete
        #: In order of creation.
        self.watchers: dict[Watcher, None] = {}
        #: How many of them are behind: history needs to be matched only where there are some.
        self.behind = 0

    def select(self, events: list[Event]) -> list[Event]:
        """The events that its filters let pass."""
        if not self.filtered:
            return events
        return [event for event in events if self.subscription.wants(event)]


class WatcherGroups:
    """Every group of a hub."""

    def __init__(self) -> None:
        self._keys: dict[bytes, list[Group]] = {}
        self._ranges: IntervalMap[list[Group]] = IntervalMap()

    def join(self, subscription: Subscription) -> Group:
        """The group of this subscription; the caller puts a watcher into it."""
        groups = self._find(subscription)
        if groups is None:
            groups = []
            if subscription.end == b"":
                self._keys[subscription.key] = groups
            else:
                self._ranges.add(subscription.key, subscription.end, groups)
        for group in groups:
            if group.subscription == subscription:
                return group
        group = Group(subscription)
        groups.append(group)
        return group

    def leave(self, group: Group) -> None:
        """Forget a group that has lost its last watcher."""
        assert not group.watchers
        subscription = group.subscription
        groups = self._find(subscription)
        assert groups is not None
        groups.remove(group)
        if groups:
            return
        if subscription.end == b"":
            del self._keys[subscription.key]
        else:
            self._ranges.remove(subscription.key, subscription.end)

    def of(self, key: bytes) -> list[Group]:
        """The groups that look at `key`."""
        found = list(self._keys.get(key, ()))
        if self._ranges:
            for groups in self._ranges.holding(key):
                found += groups
        return found

    def _find(self, subscription: Subscription) -> list[Group] | None:
        if subscription.end == b"":
            return self._keys.get(subscription.key)
        return self._ranges.get(subscription.key, subscription.end)
