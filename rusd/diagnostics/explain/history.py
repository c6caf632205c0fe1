"""The history of a key as a list of changes, from events in the order of revisions. No I/O.

Only the last events are kept, so memory does not grow with history.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from .changes import difference, summary


class Event(NamedTuple):
    """A put (`value` is bytes) or a deletion (None) of a key."""

    key: bytes
    revision: int
    value: bytes | None
    create_revision: int = 0
    version: int = 0
    #: 0: none.
    lease: int = 0


@dataclass(frozen=True)
class Change:
    """What happened to a key at a revision."""

    key: bytes
    revision: int
    #: created, recreated, changed, unchanged, or deleted.
    kind: str
    text: str
    version: int = 0
    lease: int = 0
    size: int = 0
    lines: tuple[str, ...] = ()
    #: The text says what follows from other facts, and was not told.
    inferred: bool = False


class History:
    """Turns events of one key into changes, of which the last `limit` are kept (0: all)."""

    def __init__(self, limit: int, lines: int) -> None:
        """`lines`: of a difference."""
        self._lines = lines
        self._last: Event | None = None
        #: Values are compared when it is known that they are told; but of all changes, values
        #: could not be kept.
        self._pairs: deque[tuple[Event | None, Event]] = deque(maxlen=limit)
        self._all: list[Change] | None = None if limit else []
        #: Changes in all.
        self.count = 0

    def begin(self, state: Event) -> None:
        """Say how the key was before the first event."""
        self._last = state

    def add(self, event: Event) -> None:
        """Add the next event."""
        if self._all is None:
            self._pairs.append((self._last, event))
        else:
            self._all.append(change(self._last, event, self._lines))
        self._last = event
        self.count += 1

    def changes(self) -> list[Change]:
        """Return the changes that are kept, oldest first."""
        if self._all is not None:
            return self._all
        return [change(before, event, self._lines) for before, event in self._pairs]


def change(before: Event | None, event: Event, lines: int) -> Change:
    """Return what an event did to a key; `before`: its last event, None if that is not known."""
    if event.value is None:
        lease = before.lease if before is not None and before.value is not None else 0
        known = before is not None and before.value is not None
        text = "deleted by a request" if known and not lease else "deleted"
        return Change(event.key, event.revision, "deleted", text, lease=lease)
    old = before.value if before is not None else None
    if event.version == 1:
        again = before is not None
        kind, text = ("recreated", "created again") if again else ("created", "created")
        return _put(event, kind, f"{text}, {summary(None, event.value)}", None, lines)
    if old is None:
        text = f"put, {summary(None, event.value)} (the value before is compacted)"
        return _put(event, "changed", text, None, lines)
    kind = "unchanged" if old == event.value else "changed"
    text = f"put, {summary(old, event.value)}"
    if before is not None and before.lease != event.lease:
        text += ", " + _lease_change(before.lease, event.lease)
    return _put(event, kind, text, old, lines)


def _put(event: Event, kind: str, text: str, old: bytes | None, lines: int) -> Change:
    value = event.value or b""
    if event.lease and kind in ("created", "recreated"):
        text += f", lease {event.lease:x}"
    shown = tuple(difference(old, value, lines))
    return Change(
        event.key, event.revision, kind, text, event.version, event.lease, len(value), shown
    )


def _lease_change(old: int, new: int) -> str:
    if not new:
        return f"no longer attached to lease {old:x}"
    return f"attached to lease {new:x}" + (f" (before: {old:x})" if old else "")


def leases(changes: Iterable[Change]) -> set[int]:
    """Return leases that keys had when they were deleted."""
    return {each.lease for each in changes if each.kind == "deleted" and each.lease}


def explained(each: Change, gone: set[int]) -> Change:
    """Say of a deletion what is known by its lease: a lease that ends deletes its keys."""
    if each.kind != "deleted" or not each.lease:
        return each
    if each.lease in gone:
        text = f"deleted, by the end of lease {each.lease:x} (expired or revoked; it is gone)"
        return replace(each, text=text, inferred=True)
    text = f"deleted by a request (its lease {each.lease:x} still exists)"
    return replace(each, text=text)
