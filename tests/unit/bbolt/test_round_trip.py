"""What was written is read back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rusd.bbolt import Database, Writer, check
from rusd.bbolt.writer import LEAF, ROOT_PAGES
from tests.support.snapshots import content
from tests.unit.bbolt.files import assemble, collect, make, numbered

KEYS = st.binary(min_size=1, max_size=40)
VALUES = st.binary(max_size=60) | st.builds(bytes, st.integers(0, 9000))
BUCKETS = st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, max_size=60), max_size=5)


@given(
    buckets=BUCKETS,
    page_size=st.sampled_from([1024, 4096, 16384]),
    leaf=st.sampled_from([16384, LEAF]) | st.none(),
)
@settings(max_examples=60, deadline=None)
def test_any_buckets_are_read_back(
    buckets: dict[bytes, dict[bytes, bytes]], page_size: int, leaf: int | None
) -> None:
    assert content(make(buckets, page_size, leaf or page_size)) == buckets


def test_a_tree_of_several_levels_is_read_back() -> None:
    items = dict(numbered(20_000))
    file = make({b"key": items}, page_size=1024, leaf=1024)
    assert content(file) == {b"key": items}
    bucket = Database(file).bucket(b"key")
    assert bucket is not None
    assert [bucket.get(key) for key in (b"key00000000", b"key00012345", b"key00019999")] == [
        items[b"key00000000"],
        items[b"key00012345"],
        items[b"key00019999"],
    ]
    assert bucket.get(b"key00012345x") is None
    assert bucket.get(b"a") is None


def test_a_value_larger_than_a_page_takes_several() -> None:
    items = {b"a": b"1", b"b": b"2" * 1_500_000, b"c": b"3"}
    assert content(make({b"key": items})) == {b"key": items}


def test_a_small_bucket_lies_within_its_parent() -> None:
    writer = Writer()
    small = collect(writer.bucket([(b"term", b"1")]), [])
    file = assemble(writer, [], {b"meta": small})
    bucket = Database(file).bucket(b"meta")
    assert bucket is not None
    assert bucket.root == 0
    # Behind the meta pages comes what `finish` adds.
    assert len(file) == (2 + 1 + ROOT_PAGES) * 4096


def test_buckets_nest() -> None:
    writer, pages = Writer(1024, 1024), list[bytes]()
    inner = collect(writer.bucket(numbered(500)), pages)
    small = collect(writer.bucket([(b"x", b"y")]), pages)
    outer = collect(writer.bucket([(b"a", b"1"), (b"inner", inner), (b"small", small)]), pages)
    database = Database(assemble(writer, pages, {b"outer": outer}))
    check(database)
    found = database.bucket(b"outer")
    assert found is not None
    assert found.get(b"a") == b"1"
    assert found.get(b"inner") is None
    nested = dict(found.buckets())
    assert [(item.key, item.value) for item in nested[b"inner"].items()] == list(numbered(500))
    assert [(item.key, item.value) for item in nested[b"small"].items()] == [(b"x", b"y")]
    assert found.bucket(b"a") is None


@pytest.mark.parametrize("keys", [[b"b", b"a"], [b"a", b"a"], [b""], [b"a", b"c", b"b", b"d"]])
def test_keys_out_of_order_are_refused(keys: list[bytes]) -> None:
    with pytest.raises(ValueError, match="does not follow"):
        list(Writer().bucket((key, b"") for key in keys))


def test_a_key_that_does_not_follow_the_leaf_before_is_refused() -> None:
    items = [(b"b", b"1" * 1024), (b"a", b"2" * 1024)]
    with pytest.raises(ValueError, match="b'a' does not follow b'b'"):
        list(Writer(1024, 1024).bucket(items))


def test_the_writer_keeps_a_page_of_each_level() -> None:
    """Whatever is kept grows with the height of the tree."""
    writer = Writer(1024, 4096)
    kept, largest = 0, 0
    for page in writer.bucket(numbered(40_000)):
        kept += len(page)
        assert writer.size == 2 * 1024 + kept, "a page is counted before it is given"
        largest = max(largest, len(page))
    # (A leaf is full after these bytes, and has a few items more.)
    assert largest <= 4096 + 1024
    assert kept > 1_000_000


def test_large_values_get_leaves_of_their_own() -> None:
    """So that no leaf has more than one that it did not need."""
    items = [(b"%03d" % number, b"v" * LEAF) for number in range(40)]
    assert {len(page) for page in Writer().bucket(items)} == {LEAF + 4096, 4096}


def test_pages_that_were_not_needed_are_free() -> None:
    writer, pages = Writer(1024), list[bytes]()
    head = writer.head(100_000)
    value = collect(writer.bucket(numbered(500)), pages)
    pages += writer.finish({b"key": value})
    file = head + b"".join(pages)
    check(Database(file))
    assert len(file) > 100_000 * 1024
    assert max(map(len, pages)) < 1 << 20


def test_more_than_was_announced_is_refused() -> None:
    writer, pages = Writer(), list[bytes]()
    values = {b"a": collect(writer.bucket(numbered(500)), pages)}
    with pytest.raises(ValueError, match="has no head"):
        list(writer.finish(values))
    writer.head(1)
    values[b"b"] = collect(writer.bucket(numbered(500)), pages)
    with pytest.raises(ValueError, match="at most were announced"):
        list(writer.finish(values))


def test_more_buckets_than_have_room_are_refused() -> None:
    writer = Writer(1024)
    small = collect(writer.bucket([(b"a", b"1" * 200)]), [])
    writer.head(0)
    with pytest.raises(ValueError, match="20 buckets take more than 4 pages"):
        list(writer.finish({b"%d" % number: small for number in range(20)}))


def test_large_items_are_taken_one_at_a_time() -> None:
    taken = 0

    def items() -> Iterator[tuple[bytes, bytes]]:
        nonlocal taken
        for number in range(200):
            taken += 1
            yield b"%03d" % number, bytes(200_000)

    ahead = []
    for leaf, _ in enumerate(Writer().bucket(items())):
        ahead.append(taken - leaf)
    assert max(ahead) <= 32
    assert set(ahead[40:190]) == {1}
