"""The account of a key, and of a revision: reads history, and says what it means."""

from __future__ import annotations

from dataclasses import dataclass, field

from rusd.ctl.gateway import CallError

from .history import Change, Event, History, change, explained, leases
from .source import EVERYTHING, Compacted, Source

#: Keys that are named to help.
_EXAMPLES = 5


@dataclass
class KeyAccount:
    """What happened to a key."""

    key: bytes
    #: The newest revision when it was asked for.
    revision: int
    now: Event | None
    changes: list[Change] = field(default_factory=list)
    #: Changes in all, of which the last are in `changes`.
    count: int = 0
    #: First revision that was asked for, and the last.
    first: int = 1
    last: int = 0
    #: The revision up to which history is compacted; 0: not.
    compacted: int = 0
    #: The key before the first change, at the compacted revision or before `first`.
    before: Event | None = None
    #: The end of history was taken from silence alone.
    guessed: bool = False
    #: Seconds that its lease has left now.
    left: int | None = None
    #: Number of keys that begin with it, and some of them, if it was never there.
    alike: tuple[int, list[bytes]] = (0, [])


@dataclass
class RevisionAccount:
    """What a revision changed."""

    revision: int
    newest: int
    changes: list[Change] = field(default_factory=list)
    #: Changes in all.
    count: int = 0
    compacted: int = 0
    #: It is the compacted revision itself, of which deletions may be missing.
    edge: bool = False
    #: Of a compacted revision: keys that still have the value of it; None: too many to look.
    remaining: list[bytes] | None = None


def of_key(
    source: Source, key: bytes, *, first: int = 0, last: int = 0, limit: int = 0, lines: int = 0
) -> KeyAccount:
    """Account for a key from revision `first` to `last` (0: all). Raises CallError."""
    now, newest = source.state(key)
    told = KeyAccount(key, newest, now, first=max(first, 1), last=last or newest)
    if told.first > 1:
        told.before = _before(source, key, told.first)
    while True:
        history = History(limit, lines)
        if told.before is not None:
            history.begin(told.before)
        try:
            if now is None or now.revision >= told.first:
                until = now.revision if now is not None else 0
                for event in source.events(key, b"", told.first, told.last, until):
                    history.add(event)
            break
        except Compacted as error:
            told.compacted, told.first = error.revision, error.revision + 1
            told.before = _before(source, key, told.first)
    told.count = history.count
    told.changes = _explained(source, history.changes())
    told.guessed = source.guessed
    if now is not None and now.lease:
        told.left = source.time_to_live(now.lease)
    if now is None and not told.count and told.before is None:
        told.alike = source.beginning_with(key, _EXAMPLES)
    return told


def _before(source: Source, key: bytes, revision: int) -> Event | None:
    """Return how a key was before a revision, None if it was not there, or that is compacted."""
    if revision < 2:
        return None
    try:
        return source.state(key, revision - 1).event
    except CallError as error:
        if "compacted" in str(error):
            return None
        raise


def of_revision(
    source: Source, revision: int, *, limit: int = 0, lines: int = 0
) -> RevisionAccount:
    """Account for a revision, of which `limit` changes are kept (0: all). Raises CallError."""
    told = RevisionAccount(revision, source.revision())
    if revision > told.newest or revision < 2:
        return told
    compacted = source.compacted()
    told.edge = compacted == revision
    events: list[Event] = []
    try:
        for event in source.events(*EVERYTHING, revision, revision, revision):
            told.count += 1
            if not limit or len(events) < limit:
                events.append(event)
    except Compacted as error:
        told.compacted = error.revision
        told.remaining = source.written_at(revision, limit or 1000)
        return told
    found = [change(_before(source, each.key, revision), each, lines) for each in events]
    told.changes = _explained(source, found)
    return told


def _explained(source: Source, changes: list[Change]) -> list[Change]:
    gone = source.leases_gone(leases(changes))
    return [explained(each, gone) for each in changes]
