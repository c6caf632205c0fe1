"""Range: which rows, in which order, how many; etcd's rules over any source of rows.

A `Rows` is the live keys of an interval at one revision, in key order; where they come from
(CURRENT, history, a writer's overlay) does not matter here.
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Protocol

from rusd.mvcc.keyvalue import Live, encode, kv_of, unpack, value_of
from rusd.proto import rpc_pb2 as rpc

#: Rows handled between two yields of a sliced range.
SLICE = 2000

_KEY = rpc.RangeRequest.KEY
_VALUE = rpc.RangeRequest.VALUE
_DESCEND = rpc.RangeRequest.DESCEND
#: Sort targets that are numbers of a `Live`.
_NUMBERS: dict[int, str] = {
    rpc.RangeRequest.VERSION: "version",
    rpc.RangeRequest.CREATE: "create_revision",
    rpc.RangeRequest.MOD: "mod_revision",
}


@dataclass(frozen=True, slots=True)
class RangeResult:
    """What a range found."""

    #: Encoded KeyValues, in the order asked for.
    kvs: list[bytes]
    #: True when `limit` cut it.
    more: bool
    #: Keys in the interval before filters and limit.
    count: int


class Rows(Protocol):
    """The live keys of one interval at one revision."""

    def pairs(self) -> Iterator[tuple[bytes, bytes]]:
        """(user key, stored form as in family CURRENT), in key order."""

    def keys(self) -> Iterator[bytes]:
        """The user keys alone."""


def run(request: rpc.RangeRequest, rows: Rows) -> Generator[None, None, RangeResult]:
    """Evaluate `request` (its interval and revision are in `rows` already), in slices.

    Source: etcd's range: filters drop keys before the limit but not from `count`; `more` says that
    the limit cut the result; ties in a sort keep key order.
    """
    if request.count_only:
        return RangeResult([], False, (yield from _count(rows.keys(), 0)))
    plain = request.sort_target == _KEY and request.sort_order != _DESCEND
    if plain and not _filters(request):
        return (yield from _plain(request, rows))
    found, count = yield from _gather(request, rows)
    if not plain:
        found.sort(key=_order(request.sort_target), reverse=request.sort_order == _DESCEND)
    more = 0 < request.limit < len(found)
    if more:
        del found[request.limit :]
    shape = _without_value if request.keys_only else _whole
    return RangeResult([shape(key, stored) for key, stored in found], more, count)


def finish(steps: Generator[None, None, RangeResult]) -> RangeResult:
    """Run a sliced range to its end at once."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            result: RangeResult = stop.value
            return result


def _plain(request: rpc.RangeRequest, rows: Rows) -> Generator[None, None, RangeResult]:
    limit = request.limit if request.limit > 0 else -1
    keys_only = request.keys_only
    kvs: list[bytes] = []
    # Both iterators begin before the first yield, so they see one and the same state.
    remaining = rows.keys() if limit > 0 else None
    for key, stored in rows.pairs():
        if len(kvs) == limit:
            break
        kvs.append(_without_value(key, stored) if keys_only else kv_of(stored))
        if not len(kvs) % SLICE:
            yield
    else:
        return RangeResult(kvs, False, len(kvs))
    assert remaining is not None
    count = yield from _count(remaining, 0)
    return RangeResult(kvs, count > len(kvs), count)


def _count(keys: Iterator[bytes], count: int) -> Generator[None, None, int]:
    for _ in keys:
        count += 1
        if not count % (4 * SLICE):
            yield
    return count


def _gather(
    request: rpc.RangeRequest, rows: Rows
) -> Generator[None, None, tuple[list[tuple[bytes, bytes]], int]]:
    """Rows that pass the filters, and the number of all rows."""
    accepts = _acceptance(request)
    found, count = [], 0
    for row in rows.pairs():
        count += 1
        if accepts(unpack(row[1])):
            found.append(row)
        if not count % SLICE:
            yield
    return found, count


def _filters(request: rpc.RangeRequest) -> bool:
    return bool(
        request.min_mod_revision
        or request.max_mod_revision
        or request.min_create_revision
        or request.max_create_revision
    )


def _acceptance(request: rpc.RangeRequest) -> Callable[[Live], bool]:
    min_mod, max_mod = request.min_mod_revision, request.max_mod_revision
    min_create, max_create = request.min_create_revision, request.max_create_revision

    def accepts(live: Live) -> bool:
        return not (
            (max_mod and live.mod_revision > max_mod)
            or (min_mod and live.mod_revision < min_mod)
            or (max_create and live.create_revision > max_create)
            or (min_create and live.create_revision < min_create)
        )

    return accepts


def _order(target: int) -> Callable[[tuple[bytes, bytes]], Any]:
    if target == _KEY:
        return lambda row: row[0]
    if target == _VALUE:
        return lambda row: value_of(kv_of(row[1]))
    number = attrgetter(_NUMBERS[target])
    return lambda row: number(unpack(row[1]))


def _whole(key: bytes, stored: bytes) -> bytes:
    return kv_of(stored)


def _without_value(key: bytes, stored: bytes) -> bytes:
    live = unpack(stored)
    return encode(key, live.create_revision, live.mod_revision, live.version, b"", live.lease)
