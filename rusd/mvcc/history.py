"""History as events from a revision on, for unsynced watchers."""

from collections.abc import Iterator

from rusd.base.sliced import divided
from rusd.mvcc.revision import (
    LAST_SUB,
    TOMBSTONE,
    index_key,
    index_prefix,
    parse_index_key,
    parse_revision_key,
    revision_key,
)
from rusd.storage import Cursor, Engine, Family
from rusd.wire.keyvalue import DELETE, PUT, Event, deletion, event_size, key_of

#: Changes of one revision that are read at once; more are read in parts.
LONG_REVISION_EVENTS = 2000
#: Bytes of the changed and the replaced KeyValues of one revision, likewise.
LONG_REVISION_BYTES = 4 << 20
#: Rows read at a time, at most.
_ROWS = 256


class LongRevision:
    """A revision of many changes or of many bytes, whose events are read in parts."""

    def __init__(self, engine: Engine, revision: int, compact_revision: int) -> None:
        self._engine = engine
        self._revision = revision
        self._compact_revision = compact_revision

    def parts(self, *, prev: bool) -> Iterator[list[Event]]:
        """The events in order. `prev`: with previous KeyValues, which doubles the cost."""
        engine, main = self._engine, self._revision
        rows = engine.cursor(Family.KEY, revision_key(main), revision_key(main + 1))
        versions = engine.cursor(Family.INDEX, b"", None)
        since = self._compact_revision if prev else main
        while pairs := rows.pairs(_ROWS):
            events = (_event(engine, versions, key, kv, since) for key, kv in pairs if kv)
            yield from divided(events, event_size, _ROWS)


def history(
    engine: Engine, start: int, last: int, compact_revision: int, limit: int
) -> Iterator[tuple[int, list[Event] | LongRevision]]:
    """(revision, events) of whole revisions from `start` to `last`, at most `limit` of them."""
    rows = engine.cursor(Family.KEY, revision_key(start), revision_key(last + 1))
    versions = engine.cursor(Family.INDEX, b"", None)
    revision, count = 0, 0
    changes: list[tuple[bytes, bytes]] = []
    # Few at first, since callers often take few.
    size = 4
    while pairs := rows.pairs(size):
        size = min(4 * size, _ROWS)
        for key, kv in pairs:
            main = parse_revision_key(key)[0]
            if main != revision:
                if changes:
                    yield revision, _events(engine, versions, revision, changes, compact_revision)
                    count += 1
                    if count == limit:
                        return
                revision, changes = main, []
            # (An empty one marks a bumped revision, and is no change.)
            if kv:
                changes.append((key, kv))
            if len(changes) > LONG_REVISION_EVENTS:
                yield revision, LongRevision(engine, revision, compact_revision)
                count += 1
                if count == limit:
                    return
                changes = []
                rows.seek(revision_key(main + 1))
                break
    if changes:
        yield revision, _events(engine, versions, revision, changes, compact_revision)


def _events(
    engine: Engine,
    versions: Cursor,
    revision: int,
    changes: list[tuple[bytes, bytes]],
    compact_revision: int,
) -> list[Event] | LongRevision:
    """Return the events of a revision of few changes, unless these replaced large values."""
    events: list[Event] = []
    room = LONG_REVISION_BYTES
    for key, kv in changes:
        event = _event(engine, versions, key, kv, compact_revision)
        events.append(event)
        room -= event_size(event)
        if room < 0 and len(changes) > 1:
            return LongRevision(engine, revision, compact_revision)
    return events


def _event(engine: Engine, versions: Cursor, key: bytes, kv: bytes, compact_revision: int) -> Event:
    main, sub, tombstone = parse_revision_key(key)
    of = key_of(kv)
    # etcd reads the previous version at main-1, which must not be compacted.
    before = None if main - 1 < compact_revision else _before(engine, versions, of, main, sub)
    if tombstone:
        return Event(DELETE, of, main, sub, deletion(of, main), before)
    return Event(PUT, of, main, sub, kv, before)


def _before(engine: Engine, versions: Cursor, key: bytes, main: int, sub: int) -> bytes | None:
    """Returns the encoded KeyValue that the change (main, sub) of `key` replaced, or None."""
    prefix = index_prefix(key)
    newest = index_key(prefix, main, sub - 1) if sub else index_key(prefix, main - 1, LAST_SUB)
    last = versions.at_or_before(newest)
    if last is None or last[1] == TOMBSTONE:
        return None
    of, old_main, old_sub = parse_index_key(last[0])
    return engine.get(Family.KEY, revision_key(old_main, old_sub)) if of == prefix else None
