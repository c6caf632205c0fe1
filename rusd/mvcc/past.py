"""History as events: what changed from a revision on, for watchers that catch up."""

from collections.abc import Iterator

from rusd.mvcc.keyvalue import DELETE, PUT, Event, deletion, key_of
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


def history(
    engine: Engine, start: int, compact_revision: int, limit: int
) -> Iterator[tuple[int, list[Event]]]:
    """(revision, events) from revision `start` on, whole revisions only, at most `limit`."""
    revision, count = 0, 0
    events: list[Event] = []
    versions = engine.cursor(Family.INDEX, b"", None)
    for key, kv in engine.scan(Family.KEY, revision_key(start), None):
        main, sub, tombstone = parse_revision_key(key)
        if main != revision:
            if events:
                yield revision, events
                count += 1
                if count == limit:
                    return
            revision, events = main, []
        of = key_of(kv)
        # etcd reads the previous version at main-1, which must not be compacted.
        before = None if main - 1 < compact_revision else _before(engine, versions, of, main, sub)
        if tombstone:
            events.append(Event(DELETE, of, main, sub, deletion(of, main), before))
        else:
            events.append(Event(PUT, of, main, sub, kv, before))
    if events:
        yield revision, events


def _before(engine: Engine, versions: Cursor, key: bytes, main: int, sub: int) -> bytes | None:
    """The encoded KeyValue that the change (main, sub) of `key` replaced."""
    prefix = index_prefix(key)
    newest = index_key(prefix, main, sub - 1) if sub else index_key(prefix, main - 1, LAST_SUB)
    last = versions.at_or_before(newest)
    if last is None or last[1] == TOMBSTONE:
        return None
    of, old_main, old_sub = parse_index_key(last[0])
    return engine.get(Family.KEY, revision_key(old_main, old_sub)) if of == prefix else None
