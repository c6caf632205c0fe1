"""Unions of key ranges: the keys that a set of permissions covers.

Ranges are half open, [begin, end), in byte order; an end of None lies behind every key. Overlapping
and adjacent ranges are joined, so that a request may span several permissions, as in etcd.

etcd's conventions for a range end: empty stands for the single key, one zero byte for all keys from
the first one on. A request whose end does not lie behind its key matches nothing; it is permitted
if its key is, whatever its end (etcd's answer then depends on the order of its interval tree).
"""

from bisect import bisect_right
from collections.abc import Iterable

from rusd.auth.records import Permission

#: Range end of "all keys from here on".
OPEN_END = b"\0"


class KeyRanges:
    """A union of key ranges, joined and sorted; immutable."""

    __slots__ = ("_begins", "_ends")

    def __init__(self, permissions: Iterable[Permission] = ()) -> None:
        spans = sorted(
            (span(each.key, each.range_end) for each in permissions), key=lambda one: one[0]
        )
        self._begins: list[bytes] = []
        #: None: no end.
        self._ends: list[bytes | None] = []
        for begin, end in spans:
            if end is not None and end <= begin:
                continue
            if self._begins and _reaches(self._ends[-1], begin):
                self._ends[-1] = _later(self._ends[-1], end)
            else:
                self._begins.append(begin)
                self._ends.append(end)

    def covers(self, key: bytes, range_end: bytes) -> bool:
        """Return whether every key of the request's range lies inside one joined range."""
        place = bisect_right(self._begins, key) - 1
        if place < 0:
            return False
        last = self._ends[place]
        if last is None:
            return True
        if key >= last:
            return False
        # (A single key needs no more; nor does an end at or before the key.)
        return range_end != OPEN_END and range_end <= last

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, KeyRanges):
            return NotImplemented
        return (self._begins, self._ends) == (other._begins, other._ends)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"KeyRanges({list(zip(self._begins, self._ends, strict=True))})"


def span(key: bytes, range_end: bytes) -> tuple[bytes, bytes | None]:
    """Return the half-open range that etcd's pair of key and range end denotes."""
    if not range_end:
        return key, key + b"\0"
    return key, None if range_end == OPEN_END else range_end


def is_valid(key: bytes, range_end: bytes) -> bool:
    """Return whether a permission may be granted on this range."""
    return bool(key) and (not range_end or range_end > key or range_end == OPEN_END)


def _reaches(end: bytes | None, begin: bytes) -> bool:
    return end is None or begin <= end


def _later(one: bytes | None, other: bytes | None) -> bytes | None:
    return None if one is None or other is None else max(one, other)
