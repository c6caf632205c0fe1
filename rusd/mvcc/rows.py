"""Where a range's rows come from: live keys, history, or a writer's uncommitted changes."""

from collections.abc import Iterator, Mapping
from itertools import islice

from rusd.errors import COMPACTED
from rusd.mvcc.keyvalue import Live, pack, parse
from rusd.mvcc.query import Rows
from rusd.mvcc.revision import (
    TOMBSTONE,
    index_key,
    index_prefix,
    parse_index_key,
    revision_key,
    user_key,
)
from rusd.storage import Engine, Family

#: Revisions of one key read one by one before the rest is skipped by a seek.
_PATIENCE = 16
#: Historical KeyValues fetched at once.
_FETCH = 500


class CurrentRows:
    """Committed live keys of [start, end)."""

    def __init__(self, engine: Engine, start: bytes, end: bytes | None) -> None:
        self._engine, self._start, self._end = engine, start, end

    def pairs(self) -> Iterator[tuple[bytes, bytes]]:
        return self._engine.scan(Family.CURRENT, self._start, self._end)

    def keys(self) -> Iterator[bytes]:
        return self._engine.scan_keys(Family.CURRENT, self._start, self._end)


class HistoryRows:
    """Keys of [start, end) as they were at an older revision that is not compacted."""

    def __init__(self, engine: Engine, start: bytes, end: bytes | None, revision: int) -> None:
        self._engine, self._start, self._end = engine, start, end
        self._revision = revision

    def pairs(self) -> Iterator[tuple[bytes, bytes]]:
        """Raises COMPACTED when a compaction removed, meanwhile, what is being read."""
        found = self._versions()
        while chunk := list(islice(found, _FETCH)):
            values = self._engine.multi_get(Family.KEY, [revision for _, revision in chunk])
            for (key, _), kv in zip(chunk, values, strict=True):
                if kv is None:
                    raise COMPACTED
                yield key, pack(parse(kv))

    def keys(self) -> Iterator[bytes]:
        return (key for key, _ in self._versions())

    def _versions(self) -> Iterator[tuple[bytes, bytes]]:
        """(user key, revision key of its version at the revision), live keys only."""
        position = index_prefix(self._start)
        end = None if self._end is None else index_prefix(self._end)
        while True:
            skipped_to = None
            prefix, newest, live, seen = b"", b"", False, 0
            for index, mark in self._engine.scan(Family.INDEX, position, end):
                of, main, sub = parse_index_key(index)
                if of != prefix:
                    if live:
                        yield user_key(prefix), newest
                    prefix, live, seen = of, False, 0
                if main <= self._revision:
                    newest, live = revision_key(main, sub), mark != TOMBSTONE
                seen += 1
                if seen > _PATIENCE:
                    # A key changed often: find its version by a seek, and go on behind it.
                    version = version_at(self._engine, prefix, self._revision)
                    live = version is not None
                    newest = version or b""
                    skipped_to = prefix[:-1] + bytes([prefix[-1] + 1])
                    break
            if live:
                yield user_key(prefix), newest
            if skipped_to is None:
                return
            position = skipped_to


class OverlaidRows:
    """Rows with a writer's own changes laid over them."""

    def __init__(
        self,
        base: Rows,
        overlay: Mapping[bytes, Live | None],
        start: bytes,
        end: bytes | None,
    ) -> None:
        """`overlay`: user key -> its version, or None where it was deleted."""
        self._base = base
        self._changed = sorted(
            key for key in overlay if key >= start and (end is None or key < end)
        )
        self._overlay = overlay

    def pairs(self) -> Iterator[tuple[bytes, bytes]]:
        changed = iter(self._changed)
        mine = next(changed, None)
        for pair in self._base.pairs():
            while mine is not None and mine < pair[0]:
                yield from self._own(mine)
                mine = next(changed, None)
            if mine == pair[0]:
                yield from self._own(mine)
                mine = next(changed, None)
            else:
                yield pair
        while mine is not None:
            yield from self._own(mine)
            mine = next(changed, None)

    def keys(self) -> Iterator[bytes]:
        return (key for key, _ in self.pairs())

    def _own(self, key: bytes) -> Iterator[tuple[bytes, bytes]]:
        live = self._overlay[key]
        if live is not None:
            yield key, pack(live)


def version_at(engine: Engine, prefix: bytes, revision: int) -> bytes | None:
    """The revision key of the version that the key with index prefix `prefix` had at `revision`;
    None where it did not exist."""
    last = engine.last_before(Family.INDEX, prefix, index_key(prefix, revision + 1, 0))
    if last is None or last[1] == TOMBSTONE:
        return None
    _, main, sub = parse_index_key(last[0])
    return revision_key(main, sub)
