"""History as events: what changed from a revision on, for watchers that catch up."""

from collections.abc import Iterator

from rusd.mvcc.keyvalue import DELETE, PUT, Event, deletion, key_of
from rusd.mvcc.revision import (
    TOMBSTONE,
    index_key,
    index_prefix,
    parse_index_key,
    parse_revision_key,
    revision_key,
)
from rusd.storage import Engine, Family


def history(
    engine: Engine, start: int, compact_revision: int, limit: int
) -> Iterator[tuple[int, list[Event]]]:
    """(revision, events) from revision `start` on, whole revisions only, at most `limit`."""
    revision, count = 0, 0
    events: list[Event] = []
    for key, kv in engine.scan(Family.KEY, revision_key(start), None):
        main, sub, tombstone = parse_revision_key(key)
        if main != revision:
            if events:
                yield revision, events
                count += 1
                if count == limit:
                    return
            revision, events = main, []
        events.append(_event(engine, main, sub, tombstone, kv, compact_revision))
    if events:
        yield revision, events


def _event(
    engine: Engine, main: int, sub: int, tombstone: bool, kv: bytes, compact_revision: int
) -> Event:
    key = key_of(kv)
    # etcd reads the previous version at main-1, which must not be compacted.
    before = None if main - 1 < compact_revision else _before(engine, key, main, sub)
    if tombstone:
        return Event(DELETE, key, main, sub, deletion(key, main), before)
    return Event(PUT, key, main, sub, kv, before)


def _before(engine: Engine, key: bytes, main: int, sub: int) -> bytes | None:
    """The encoded KeyValue that the change (main, sub) of `key` replaced."""
    prefix = index_prefix(key)
    last = engine.last_before(Family.INDEX, prefix, index_key(prefix, main, sub))
    if last is None or last[1] == TOMBSTONE:
        return None
    _, old_main, old_sub = parse_index_key(last[0])
    return engine.get(Family.KEY, revision_key(old_main, old_sub))
