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


class Interest(NamedTuple):
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
    """All watchers with one interest, whichever stream they are on."""

    __slots__ = ("behind", "filtered", "interest", "watchers")

    def __init__(self, interest: Interest) -> None:
        self.interest = interest
        self.filtered = interest.no_put or interest.no_delete
        #: In order of creation.
        self.watchers: dict[Watcher, None] = {}
        #: How many of them are behind: history needs to be matched only where there are some.
        self.behind = 0

    def select(self, events: list[Event]) -> list[Event]:
        """The events that its filters let pass."""
        if not self.filtered:
            return events
        return [event for event in events if self.interest.wants(event)]


class Audience:
    """Every group of a hub."""

    def __init__(self) -> None:
        self._keys: dict[bytes, list[Group]] = {}
        self._ranges: IntervalMap[list[Group]] = IntervalMap()

    def join(self, interest: Interest) -> Group:
        """The group of this interest; the caller puts a watcher into it."""
        groups = self._find(interest)
        if groups is None:
            groups = []
            if interest.end == b"":
                self._keys[interest.key] = groups
            else:
                self._ranges.add(interest.key, interest.end, groups)
        for group in groups:
            if group.interest == interest:
                return group
        group = Group(interest)
        groups.append(group)
        return group

    def leave(self, group: Group) -> None:
        """Forget a group that has lost its last watcher."""
        assert not group.watchers
        interest = group.interest
        groups = self._find(interest)
        assert groups is not None
        groups.remove(group)
        if groups:
            return
        if interest.end == b"":
            del self._keys[interest.key]
        else:
            self._ranges.remove(interest.key, interest.end)

    def of(self, key: bytes) -> list[Group]:
        """The groups that look at `key`."""
        found = list(self._keys.get(key, ()))
        if self._ranges:
            for groups in self._ranges.holding(key):
                found += groups
        return found

    def _find(self, interest: Interest) -> list[Group] | None:
        if interest.end == b"":
            return self._keys.get(interest.key)
        return self._ranges.get(interest.key, interest.end)
