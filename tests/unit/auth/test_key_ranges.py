"""The keys that permissions cover, compared with an enumeration of all short keys."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rusd.auth.key_ranges import KeyRanges, is_valid
from rusd.auth.records import Access, Permission

#: All keys of up to three bytes over a small alphabet; `\0` is the one that range ends use.
ALPHABET = (0, 97, 98, 255)
KEYS = [bytes(key) for size in (1, 2, 3) for key in product(ALPHABET, repeat=size)]

keys = st.sampled_from(KEYS)
range_ends = st.one_of(st.just(b""), st.just(b"\0"), keys)


def matches(key: bytes, begin: bytes, range_end: bytes) -> bool:
    """etcd's conventions, without joining anything."""
    if not range_end:
        return key == begin
    return key >= begin and (range_end == b"\0" or key < range_end)


permissions = st.builds(Permission, st.just(Access.READ), keys, range_ends).filter(
    lambda one: is_valid(one.key, one.range_end)
)


@given(st.lists(permissions, max_size=5), keys, range_ends)
def test_a_request_is_covered_if_every_key_of_it_is(
    granted: list[Permission], key: bytes, range_end: bytes
) -> None:
    asked = [one for one in KEYS if matches(one, key, range_end)]
    covered = all(any(matches(one, each.key, each.range_end) for each in granted) for one in asked)
    ranges = KeyRanges(granted)
    if ranges.covers(key, range_end):
        assert covered
        return
    # A range that ends behind the last short key may lack longer keys; and one that matches
    # nothing is refused unless its key is permitted.
    if asked and covered:
        longer = between(asked, range_end)
        assert not all(any(matches(k, e.key, e.range_end) for e in granted) for k in longer)


def between(asked: list[bytes], range_end: bytes) -> list[bytes]:
    """Longer keys of the same range: neighbours of each short one."""
    longer = [key + tail for key in asked for tail in (b"\0", b"\x01", b"\xff\xff\xff\xff")]
    longer += [b"\xff" * 8] if range_end == b"\0" else []
    begin = min(asked)
    return [key for key in longer if matches(key, begin, range_end)]


@pytest.mark.parametrize(
    ("granted", "asked", "covered"),
    [
        ([(b"a", b"")], (b"a", b""), True),
        ([(b"a", b"")], (b"a\0", b""), False),
        ([(b"a", b"c")], (b"b", b""), True),
        ([(b"a", b"c")], (b"c", b""), False),
        ([(b"a", b"c")], (b"a", b"c"), True),
        ([(b"a", b"c")], (b"a", b"c\0"), False),
        ([(b"a", b"c")], (b"a", b"\0"), False),
        ([(b"a", b"c"), (b"c", b"e")], (b"b", b"d"), True),
        ([(b"a", b"c"), (b"d", b"e")], (b"b", b"d"), False),
        ([(b"a", b"\0")], (b"b", b"\0"), True),
        ([(b"b", b"\0")], (b"a", b"\0"), False),
        ([(b"\0", b"\0")], (b"\0", b"\0"), True),
        ([(b"a", b""), (b"a\0", b"b")], (b"a", b"b"), True),
        ([], (b"a", b""), False),
    ],
)
def test_ranges_join_where_they_touch(
    granted: list[tuple[bytes, bytes]], asked: tuple[bytes, bytes], covered: bool
) -> None:
    ranges = KeyRanges(Permission(Access.READ, *one) for one in granted)
    assert ranges.covers(*asked) is covered


@pytest.mark.parametrize(
    ("key", "range_end", "valid"),
    [
        (b"", b"", False),
        (b"", b"\0", False),
        (b"a", b"", True),
        (b"a", b"b", True),
        (b"b", b"a", False),
        (b"a", b"a", False),
        (b"a", b"\0", True),
        (b"\0", b"\0", True),
    ],
)
def test_a_permission_needs_a_range_that_can_hold_keys(
    key: bytes, range_end: bytes, valid: bool
) -> None:
    assert is_valid(key, range_end) is valid
