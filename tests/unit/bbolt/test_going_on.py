"""A file goes on from an earlier one: what is the same stays in its place."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rusd.bbolt import BboltError, Database, Kept, KeptLeaf, Writer
from rusd.bbolt.reader import Page, leaf_items, leaf_key, leaf_keys
from tests.support.snapshots import content
from tests.unit.bbolt.files import collect, go_on, make, numbered

KEYS = st.integers(0, 300).map(lambda number: b"%03d" % number)
VALUES = st.binary(max_size=60) | st.builds(bytes, st.integers(0, 3000))
#: None removes.
Changes = dict[bytes, bytes | None]
ITEMS = st.dictionaries(KEYS, VALUES, max_size=200)
#: Changes of the bucket that goes on, and the whole of another.
STEPS = st.lists(
    st.tuples(
        st.dictionaries(KEYS, st.none() | VALUES, max_size=30),
        st.dictionaries(KEYS, VALUES, max_size=20),
    ),
    min_size=1,
    max_size=4,
)
PAGE = 1024


def changed(items: dict[bytes, bytes], changes: Changes) -> dict[bytes, bytes]:
    return {key: value for key, value in (items | changes).items() if value is not None}


def leaves(file: bytes) -> list[Page]:
    bucket = Database(file).bucket(b"key")
    assert bucket is not None
    return list(bucket.leaves())


@given(items=ITEMS, steps=STEPS, leaf=st.sampled_from([PAGE, 4 * PAGE]))
@settings(max_examples=60, deadline=None)
def test_any_later_content_is_read_back(
    items: dict[bytes, bytes], steps: list[tuple[Changes, dict[bytes, bytes]]], leaf: int
) -> None:
    file = make({b"key": items}, PAGE, leaf)
    for changes, others in steps:
        items = changed(items, changes)
        file = go_on(file, b"key", items, {b"other": others}, leaf)
        assert content(file) == {b"key": items, b"other": others}


def test_leaves_stay_in_their_place_and_all_else_is_free_or_new() -> None:
    items = dict(numbered(5000))
    before = make({b"key": items, b"other": {b"a": b"1"}}, PAGE, 4 * PAGE)
    later = items | dict(numbered(5100))
    del later[b"key00002000"]
    after = go_on(before, b"key", later, {b"other": {b"a": b"2"}}, 4 * PAGE)
    assert content(after) == {b"key": later, b"other": {b"a": b"2"}}
    old, new = leaves(before), leaves(after)
    stay = {page.number for page in new if page.number * PAGE < len(before)}
    assert len(stay) >= len(old) - 2
    assert stay <= {page.number for page in old}
    assert before[2 * PAGE :] == after[2 * PAGE : len(before)]
    assert len(after) - len(before) < len(before) // 10


def test_the_keys_of_a_leaf_are_those_of_its_items() -> None:
    for page in leaves(make({b"key": dict(numbered(2000))}, PAGE, 4 * PAGE)):
        keys = [item.key for item in leaf_items(page)]
        assert leaf_keys(page) == keys
        assert [leaf_key(page, 0), leaf_key(page, len(keys) - 1)] == [keys[0], keys[-1]]


def test_a_key_that_reaches_out_of_its_leaf_is_an_error() -> None:
    page = leaves(make({b"key": dict(numbered(2000))}, PAGE, 4 * PAGE))[0]
    data = bytearray(page.data)
    data[16 + 8 : 16 + 12] = (1 << 31).to_bytes(4, "little")
    damaged = page._replace(data=memoryview(data))
    with pytest.raises(BboltError, match="out of the page"):
        leaf_keys(damaged)
    with pytest.raises(BboltError, match="out of the page"):
        leaf_key(damaged, 0)


@pytest.mark.parametrize(
    ("stay", "told"),
    [
        ([KeptLeaf(b"a", b"b", 2, 1), KeptLeaf(b"b", b"c", 3, 1)], "does not follow b'b'"),
        ([KeptLeaf(b"b", b"a", 2, 1)], "does not follow"),
        ([KeptLeaf(b"a", b"b", 2, 2), KeptLeaf(b"c", b"d", 3, 1)], "3 to 3 cannot be kept"),
        ([KeptLeaf(b"a", b"b", 1, 1)], "1 to 1 cannot be kept"),
        ([KeptLeaf(b"a", b"b", 9, 2)], "9 to 10 cannot be kept"),
    ],
)
def test_pages_that_cannot_stay_are_refused(stay: list[KeptLeaf], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        collect(Writer(first=10).go_on([Kept(stay)]), [])


def test_new_items_follow_what_stays() -> None:
    parts = [Kept([KeptLeaf(b"a", b"m", 2, 1)]), [(b"c", b"1")]]
    with pytest.raises(ValueError, match="b'c' does not follow b'm'"):
        collect(Writer(first=10).go_on(parts), [])
