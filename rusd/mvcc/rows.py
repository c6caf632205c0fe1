"""Sources of rows for ranges: live keys, history, a writer's uncommitted changes."""

from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import islice

from rusd.base.sliced import SLICE_BYTES
from rusd.mvcc.errors import Compacted
from rusd.mvcc.key_counts import CountView, KeyCounts
from rusd.mvcc.overlay import Overlay
from rusd.mvcc.ports import Rows
from rusd.mvcc.revision import (
    LAST_SUB,
    TOMBSTONE,
    index_key,
    index_prefix,
    parse_index_key,
    revision_key,
)
from rusd.storage import Engine, Family, StorageError
from rusd.wire.keyvalue import frame, key_of, kv_of

#: Revisions of one key read one by one before a seek skips the rest.
_MAX_STEPS = 16
#: Versions looked at, in search of the next live key, in one slice.
_SOUGHT = 2000
#: Rows fetched at once where each costs more than a step of a cursor; the first time, since they
#: may be large.
_FETCH = 500
_FETCH_FIRST = 16


class CurrentRows:
    """Committed live keys of [start, end) as of the creation of this object."""

    def __init__(
        self,
        engine: Engine,
        start: bytes,
        end: bytes | None,
        counts: KeyCounts,
        view: CountView | None = None,
    ) -> None:
        """`counts`: of the store; `view`: created at the same moment, for rows that are counted
        after other commits.
        """
        self._cursor = engine.cursor(Family.CURRENT, start, end)
        self._position, self._end = start, end
        self._counts = counts
        self._view = view
        #: Changes with the state: equal in two views of the same state.
        self._commits = counts.commits

    def seek(self, start: bytes) -> None:
        """Move to the first row at or after `start`."""
        self._cursor.seek(start)
        self._position = start

    def read(self, count: int) -> list[bytes]:
        rows = self._cursor.values(count)
        if rows:
            self._position = key_of(kv_of(rows[-1])) + b"\0"
        return rows

    def count(self) -> Generator[None, None, int]:
        view = self._view
        if view is None:
            view = self._counts.view()
            view.valid = self._commits == self._counts.commits
        return (yield from view.count(self._cursor, self._position, self._end))

    def seeks(self) -> bool:
        return False


class HistoryRows:
    """Keys of [start, end) at an older revision."""

    def __init__(
        self,
        engine: Callable[[], Engine],
        start: bytes,
        end: bytes | None,
        revision: int,
        compacted: Callable[[], int],
    ) -> None:
        """`engine`: of the store; a snapshot may replace it meanwhile, with the same history.
        `compacted` returns the compact revision: once it lies above `revision`, what is being read
        may be removed at any time, and further reading raises Compacted.
        """
        self._engine, self._start, self._end = engine, start, end
        self._revision = revision
        self._compacted = compacted
        self._found = self._versions()
        self._next_found: list[bytes] = []
        #: Rows fetched at once.
        self._step = _FETCH_FIRST

    def seeks(self) -> bool:
        if not self._next_found:
            self._check()
            found = next(self._found, b"")
            if found is None:
                return True
            if found:
                self._next_found.append(found)
        return False

    def read(self, count: int) -> list[bytes]:
        rows: list[bytes] = []
        room, count = SLICE_BYTES, min(count, _FETCH)
        while versions := self._next(min(count - len(rows), self._step)):
            part = self._fetch(versions)
            rows += part
            taken = sum(map(len, part))
            room -= taken
            few = taken > SLICE_BYTES // 4
            self._step = max(1, self._step // 4) if few else min(2 * self._step, _FETCH)
            if room <= 0 or len(rows) == count or self.seeks():
                break
        return rows

    def _fetch(self, versions: list[bytes]) -> list[bytes]:
        engine = self._engine()
        kvs = engine.multi_get(Family.KEY, versions)
        if None in kvs:
            raise StorageError(f"{engine.directory} has an index without its versions")
        return [frame(kv) for kv in kvs if kv is not None]

    def count(self) -> Generator[None, None, int]:
        count = 0
        while True:
            while self.seeks():
                yield
            part = self._next(_FETCH)
            if not part:
                return count
            if count:
                yield
            count += len(part)

    def _next(self, count: int) -> list[bytes]:
        """Return the next revision keys, `count` at most; at least one if there are any."""
        self._check()
        while self.seeks():
            pass
        found, self._next_found = self._next_found, []
        for version in islice(self._found, count - 1 if found else 0):
            if version is None:
                break
            found.append(version)
        return found

    def _check(self) -> None:
        if self._compacted() > self._revision:
            raise Compacted

    def _versions(self) -> Iterator[bytes | None]:
        """Yield revision keys of the versions at the revision, in the order of user keys; None
        after each slice of versions.
        """
        sought = 0
        end = None if self._end is None else index_prefix(self._end)
        versions = self._engine().cursor(Family.INDEX, index_prefix(self._start), end)
        skipped = True
        while skipped:
            skipped = False
            prefix, newest, live, seen = b"", b"", False, 0
            for index, mark in versions:
                sought += 1
                if sought % _SOUGHT == 0:
                    yield None
                of, main, sub = parse_index_key(index)
                if of != prefix:
                    if live:
                        yield newest
                    prefix, live, seen = of, False, 0
                if main <= self._revision:
                    newest, live = revision_key(main, sub), mark != TOMBSTONE
                seen += 1
                if seen > _MAX_STEPS:
                    # A key changed often: find its version by a seek, and go on behind it.
                    found = versions.at_or_before(index_key(prefix, self._revision, LAST_SUB))
                    live = False
                    if found is not None:
                        of, main, sub = parse_index_key(found[0])
                        live = of == prefix and found[1] != TOMBSTONE
                        newest = revision_key(main, sub)
                    versions.seek(prefix[:-1] + bytes([prefix[-1] + 1]))
                    skipped = True
                    break
            if live:
                yield newest


class OverlaidRows:
    """Committed rows with the changes of a writer."""

    def __init__(
        self, base: CurrentRows, overlay: Overlay, start: bytes, end: bytes | None
    ) -> None:
        """`base`: the rows of [start, end)."""
        self._base = base
        self._changed = overlay.within(start, end)
        self._overlay = overlay
        self._merged = self._merge()

    def seeks(self) -> bool:
        return False

    def read(self, count: int) -> list[bytes]:
        count = min(count, _FETCH)
        rows: list[bytes] = []
        room = SLICE_BYTES
        for row in self._merged:
            rows.append(row)
            room -= len(row)
            if len(rows) == count or room <= 0:
                break
        return rows

    def count(self) -> Generator[None, None, int]:
        return _count(self.read)

    def _merge(self) -> Iterator[bytes]:
        changed = iter(self._changed)
        mine = next(changed, None)
        gone = bool(self._overlay.deleted_intervals)
        while part := self._base.read(_FETCH):
            for framed in part:
                key = key_of(kv_of(framed))
                while mine is not None and mine < key:
                    yield from self._own(mine)
                    mine = next(changed, None)
                if mine == key:
                    yield from self._own(key)
                    mine = next(changed, None)
                elif gone and (until := self._overlay.deleted_until(key)) is not None:
                    self._base.seek(until)
                    break
                else:
                    yield framed
        while mine is not None:
            yield from self._own(mine)
            mine = next(changed, None)

    def _own(self, key: bytes) -> Iterator[bytes]:
        live = self._overlay.versions[key]
        if live is not None:
            yield frame(live.kv)


def overlaid(
    engine: Engine, counts: KeyCounts, overlay: Overlay, start: bytes, end: bytes | None
) -> Rows:
    """Returns the live keys of [start, end) with the changes of `overlay`."""
    base = CurrentRows(engine, start, end, counts)
    if overlay.touches(start, end):
        return OverlaidRows(base, overlay, start, end)
    return base


def _count(read: Callable[[int], Sequence[bytes]]) -> Generator[None, None, int]:
    """Returns the number of remaining rows by reading them, in slices."""
    count = 0
    while found := len(read(_FETCH)):
        count += found
        yield
    return count
