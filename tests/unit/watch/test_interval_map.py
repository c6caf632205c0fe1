"""The interval map against the obvious way to do it."""

from hypothesis import given
from hypothesis import strategies as st

from rusd.watch.interval_map import IntervalMap

KEYS = st.binary(max_size=3)
INTERVALS = st.tuples(KEYS, st.none() | KEYS)


@given(st.lists(st.tuples(st.booleans(), INTERVALS), max_size=60), st.lists(KEYS, max_size=10))
def test_a_key_finds_exactly_the_intervals_that_hold_it(
    changes: list[tuple[bool, tuple[bytes, bytes | None]]], keys: list[bytes]
) -> None:
    intervals: IntervalMap[tuple[bytes, bytes | None]] = IntervalMap()
    expected: set[tuple[bytes, bytes | None]] = set()
    for add, interval in changes:
        if add and interval not in expected:
            intervals.add(*interval, interval)
            expected.add(interval)
        elif not add and interval in expected:
            intervals.remove(*interval)
            expected.remove(interval)
    assert len(intervals) == len(expected)
    for start, end in expected:
        assert intervals.get(start, end) == (start, end)
    for key in keys + [start for start, _ in expected]:
        holding = [(a, z) for a, z in expected if a <= key and (z is None or key < z)]
        assert sorted(intervals.holding(key), key=repr) == sorted(holding, key=repr)


def test_ten_thousand_intervals_cost_few_looks_per_key() -> None:
    intervals: IntervalMap[int] = IntervalMap()
    looks = 0

    class Counted(bytes):
        def __gt__(self, other: bytes) -> bool:
            nonlocal looks
            looks += 1
            return bytes.__gt__(self, other)

        def __ge__(self, other: bytes) -> bool:
            nonlocal looks
            looks += 1
            return bytes.__ge__(self, other)

    for number in range(10_000):
        intervals.add(b"%06d" % number, b"%06d" % (number + 1), number)
    for number in (0, 1, 4_999, 9_999):
        assert intervals.holding(Counted(b"%06d" % number)) == [number]
    assert 0 < looks < 4 * 200
