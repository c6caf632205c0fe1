"""The groups of watchers that match a key.

Matching, filtering and encoding are done once for a group. Groups of single keys are in a
dictionary, groups of ranges in an interval map.
"""

from collections.abc import Sequence

from rusd.mvcc.history import LONG_REVISION_BYTES, LONG_REVISION_EVENTS, LongRevision
from rusd.mvcc.overlay import BulkEvents
from rusd.watch.interval_map import IntervalMap
from rusd.watch.watcher import Group, Subscription
from rusd.wire.keyvalue import Event, event_size

#: Pairs of an event and a range group above which a revision is delivered in slices.
MANY_MATCHES = 100_000


class WatcherGroups:
    """Every group of a hub."""

    def __init__(self) -> None:
        self._keys: dict[bytes, list[Group]] = {}
        self._ranges: IntervalMap[list[Group]] = IntervalMap()

    def join(self, subscription: Subscription) -> Group:
        """Returns the group of this subscription, a new one if there is none.

        The caller adds a watcher to it.
        """
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
        """Remove a group whose last watcher was removed."""
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
        """Returns the groups whose key or range contains `key`."""
        found = list(self._keys.get(key, ()))
        if self._ranges:
            for groups in self._ranges.holding(key):
                found += groups
        return found

    def many_matches(self, events: Sequence[Event] | BulkEvents | LongRevision) -> bool:
        """Return whether delivering a revision's events may hold the loop for too long.

        An upper bound: most ranges may hold none of the events.
        """
        if isinstance(events, BulkEvents | LongRevision):
            return True
        if len(events) > LONG_REVISION_EVENTS or len(events) * len(self._ranges) > MANY_MATCHES:
            return True
        return len(events) > 1 and sum(map(event_size, events)) > LONG_REVISION_BYTES

    def _find(self, subscription: Subscription) -> list[Group] | None:
        if subscription.end == b"":
            return self._keys.get(subscription.key)
        return self._ranges.get(subscription.key, subscription.end)
