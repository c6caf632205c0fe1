"""etcd's rules for ranges (selection, order, limit, count) over any source of rows.

`Rows` are the live keys of an interval at one revision, in key order, from any source (`rows`). A
row is a framed KeyValue (`rusd/wire/keyvalue.py`), decoded only for a filter, a sort or
`keys_only`.
"""

from collections.abc import Callable, Generator, Sequence
from heapq import merge
from itertools import islice
from operator import attrgetter
from typing import Any

from rusd.base.sliced import SLICE_BYTES, fitting
from rusd.mvcc.ports import Readable, Rows
from rusd.proto import kv_pb2
from rusd.proto import rpc_pb2 as rpc
from rusd.wire.keyvalue import frame, kv_of
from rusd.wire.range_request import RangeRequest

#: Rows processed between two yields.
SLICE = 1000
#: The same where every row is decoded.
DECODED_SLICE = 500
#: Rows freed between two yields, and runs of a sort, each of up to DECODED_SLICE rows.
FREED = 5000
FREED_RUNS = 10

_KEY = rpc.RangeRequest.KEY
_UNORDERED = rpc.RangeRequest.NONE
_DESCEND = rpc.RangeRequest.DESCEND
#: Sort target -> field of a KeyValue.
_TARGETS: dict[int, str] = {
    rpc.RangeRequest.KEY: "key",
    rpc.RangeRequest.VERSION: "version",
    rpc.RangeRequest.CREATE: "create_revision",
    rpc.RangeRequest.MOD: "mod_revision",
    rpc.RangeRequest.VALUE: "value",
}
_parse = kv_pb2.KeyValue.FromString


class RangeResult:
    """The result of a range."""

    __slots__ = ("count", "framed", "more")

    def __init__(
        self,
        kvs: Sequence[bytes] = (),
        more: bool = False,
        count: int = 0,
        *,
        framed: list[bytes] | None = None,
    ) -> None:
        """`kvs`: encoded KeyValues; or, instead, `framed`."""
        #: Each KeyValue as field 2 of a message, in the requested order.
        self.framed = [frame(kv) for kv in kvs] if framed is None else framed
        #: True if `limit` cut the result.
        self.more = more
        #: Keys in the interval before filters and limit.
        self.count = count

    @property
    def kvs(self) -> list[bytes]:
        """Encoded KeyValues, in the requested order."""
        return [kv_of(one) for one in self.framed]


NOTHING = RangeResult()


def of_one_key(request: RangeRequest, framed: bytes | None) -> RangeResult:
    """Evaluate a range of a single key; `framed`: its live version, None if absent."""
    if framed is None:
        return NOTHING
    if request.count_only:
        return RangeResult(count=1)
    if _filtered(request) and not _acceptance(request)(_parse(kv_of(framed))):
        return RangeResult(count=1)
    return RangeResult(framed=[without_value(framed) if request.keys_only else framed], count=1)


class _FirstRows:
    """The first `count` rows of others."""

    def __init__(self, rows: Readable, count: int) -> None:
        self._rows = rows
        self._left = count

    def seeks(self) -> bool:
        return self._left > 0 and self._rows.seeks()

    def read(self, count: int) -> list[bytes]:
        part = self._rows.read(min(count, self._left)) if self._left else []
        self._left -= len(part)
        return part


class _Listed:
    """Rows in a list."""

    def __init__(self, rows: list[bytes]) -> None:
        self._rows = rows
        self._at = 0

    def seeks(self) -> bool:
        return False

    def read(self, count: int) -> list[bytes]:
        part = self._rows[self._at : self._at + count]
        self._at += len(part)
        return part


Slices = Generator[None, None, RangeResult]


def run(request: RangeRequest, rows: Rows) -> Slices:
    """Evaluate `request` on `rows`, which have its interval and revision; in slices.

    As in etcd: filters drop keys before the limit but not from `count`; `more` means that the limit
    cut the result; ties in a sort keep key order. Without a sort order and filters the limit
    applies in key order, so another sort target sorts `limit` + 1 keys.
    """
    if request.count_only:
        return RangeResult(count=(yield from rows.count()))
    target, descend = request.sort_target, request.sort_order == _DESCEND
    limit, keys_only = request.limit, request.keys_only
    if target == _KEY and not _filtered(request):
        if not descend:
            return (yield from _in_key_order(rows, limit, keys_only))
        found = yield from _all(rows)
        count = len(found)
        found.reverse()
        more = 0 < limit < count
        if more:
            yield from _cut(found, limit)
    else:
        accepts = _acceptance(request)
        in_key_order = request.sort_order == _UNORDERED and not _filtered(request)
        first = _FirstRows(rows, limit + 1) if in_key_order and limit > 0 else rows
        found, more, count = yield from _selected(first, accepts, target, descend, limit)
        if first is not rows:
            count += yield from rows.count()
    if keys_only:
        yield from _strip(found)
    return RangeResult(framed=found, more=more, count=count)


def without_value(framed: bytes) -> bytes:
    """Returns a row with an empty value (`keys_only`)."""
    kv = _parse(kv_of(framed))
    kv.value = b""
    return frame(kv.SerializeToString())


def sort(rows: list[bytes], target: int, keys_only: bool) -> Generator[None, None, list[bytes]]:
    """Returns rows in ascending order of a sort target, in slices; ties keep their order."""
    found, _, _ = yield from _selected(_Listed(rows), lambda kv: True, target, False, 0)
    if keys_only:
        yield from _strip(found)
    return found


# The functions below yield only if more rows follow: a range that fits into one slice costs no turn
# of the loop.


def _in_key_order(rows: Rows, limit: int, keys_only: bool) -> Slices:
    size = DECODED_SLICE if keys_only else SLICE
    found: list[bytes] = []
    part = yield from _read(rows, min(size, limit) if limit > 0 else size)
    while part:
        found += [without_value(one) for one in part] if keys_only else part
        if len(found) == limit:
            count = limit + (yield from rows.count())
            return RangeResult(framed=found, more=count > limit, count=count)
        part = yield from _read(rows, min(size, limit - len(found)) if limit > 0 else size)
        if part:
            yield
    return RangeResult(framed=found, count=len(found))


def _all(rows: Rows) -> Generator[None, None, list[bytes]]:
    found: list[bytes] = []
    part = yield from _read(rows, SLICE)
    while part:
        found += part
        part = yield from _read(rows, SLICE)
        if part:
            yield
    return found


def _selected(
    rows: Readable, accepts: Callable[[Any], bool], target: int, descend: bool, limit: int
) -> Generator[None, None, tuple[list[bytes], bool, int]]:
    """Returns (rows that pass the filters, sorted and cut; True if cut; number of all rows)."""
    of = attrgetter(_TARGETS[target])
    #: Sorted runs of (sort key, row).
    runs: list[list[tuple[Any, bytes]]] = []
    count = passed = size = 0
    part = yield from _read(rows, DECODED_SLICE)
    while part:
        count += len(part)
        size += sum(map(len, part))
        run = []
        for row in part:
            kv = _parse(kv_of(row))
            if accepts(kv):
                run.append((of(kv), row))
        passed += len(run)
        # Rows come in key order, and a sort keeps the order of ties, also in reverse.
        run.sort(key=_first, reverse=descend)
        runs.append(run if limit <= 0 else run[:limit])
        part = yield from _read(rows, DECODED_SLICE)
        if part:
            yield
    merged = runs[0] if len(runs) == 1 else merge(*runs, key=_first, reverse=descend)
    wanted = iter(merged) if limit <= 0 else islice(merged, limit)
    # (The sort compares whole values.)
    step = max(1, min(DECODED_SLICE, SLICE_BYTES * count // max(1, size)))
    found = [row for _, row in islice(wanted, step)]
    while len(found) < passed and (further := [row for _, row in islice(wanted, step)]):
        found += further
        yield
    more = len(found) < passed
    del merged, wanted
    for number in range(1, len(runs) + 1):
        runs.pop()
        if number % FREED_RUNS == 0:
            yield
    return found, more, count


def _read(rows: Readable, count: int) -> Generator[None, None, list[bytes]]:
    """`rows.read(count)`, however far away the next row is."""
    while rows.seeks():
        yield
    return rows.read(count)


def _cut(rows: list[bytes], limit: int) -> Generator[None, None, None]:
    """Leave `limit` rows: freeing a million at once would take as long as many slices."""
    while len(rows) > limit:
        del rows[max(limit, len(rows) - FREED) :]
        yield


def _strip(rows: list[bytes]) -> Generator[None, None, None]:
    """Replace the values of `rows` by empty ones, in slices."""
    start = 0
    while part := rows[start : start + DECODED_SLICE]:
        del part[fitting(part) :]
        rows[start : start + len(part)] = map(without_value, part)
        start += len(part)
        if start < len(rows):
            yield


def _first(item: tuple[Any, bytes]) -> Any:
    return item[0]


def _filtered(request: RangeRequest) -> bool:
    return bool(
        request.min_mod_revision
        or request.max_mod_revision
        or request.min_create_revision
        or request.max_create_revision
    )


def _acceptance(request: RangeRequest) -> Callable[[Any], bool]:
    min_mod, max_mod = request.min_mod_revision, request.max_mod_revision
    min_create, max_create = request.min_create_revision, request.max_create_revision

    def accepts(kv: Any) -> bool:
        return not (
            (max_mod and kv.mod_revision > max_mod)
            or (min_mod and kv.mod_revision < min_mod)
            or (max_create and kv.create_revision > max_create)
            or (min_create and kv.create_revision < min_create)
        )

    return accepts
