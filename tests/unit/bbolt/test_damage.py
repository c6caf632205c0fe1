"""A damaged file is a BboltError: no other exception, no endless loop."""

from __future__ import annotations

import struct
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rusd.bbolt import BboltError, Database, Writer, check, layout
from rusd.bbolt.layout import BucketValue
from tests.unit.bbolt.files import assemble, make, numbered

PAGE, HEADER_SIZE = 1024, layout.HEADER.size
ITEMS = dict(numbered(300))
FILE = make({b"key": ITEMS, b"meta": {b"term": b"1"}}, PAGE, PAGE)


def read(file: bytes) -> None:
    """Whatever can be read of it."""
    database = Database(file)
    for _, bucket in database.buckets():
        for item in bucket.items():
            bucket.get(item.key)
    check(database)


def page_of_kind(kind: int) -> int:
    return next(
        number
        for number in range(2, len(FILE) // PAGE)
        if layout.HEADER.unpack_from(FILE, number * PAGE)[1] == kind
    )


def changed(position: int, data: bytes) -> bytes:
    return FILE[:position] + data + FILE[position + len(data) :]


@given(
    edits=st.lists(
        st.tuples(st.integers(0, len(FILE) - 1), st.binary(min_size=1, max_size=8)), max_size=4
    ),
    length=st.integers(0, len(FILE)) | st.just(len(FILE)),
)
@settings(max_examples=300, deadline=None)
def test_any_damage_is_a_clear_error_or_harmless(
    edits: list[tuple[int, bytes]], length: int
) -> None:
    file = bytearray(FILE)
    for position, data in edits:
        file[position : position + len(data)] = data
    try:
        read(bytes(file[:length]))
    except BboltError as error:
        assert str(error)


@given(st.binary(max_size=5000))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_no_file(data: bytes) -> None:
    with pytest.raises(BboltError):
        Database(data)


def test_each_number_of_a_branch_is_checked() -> None:
    branch = page_of_kind(layout.BRANCH) * PAGE
    for offset in range(0, 16 + 3 * 16, 2):
        for value in (0, 1, 2, 0x7FFF, 0xFFFF):
            try:
                read(changed(branch + offset, struct.pack("<H", value)))
            except BboltError as error:
                assert str(error)


def test_a_page_that_refers_to_itself_is_no_endless_tree() -> None:
    branch = page_of_kind(layout.BRANCH)
    element = branch * PAGE + layout.HEADER.size
    file = changed(element + 8, struct.pack("<Q", branch))
    bucket = Database(file).bucket(b"key")
    assert bucket is not None
    with pytest.raises(BboltError, match="two pages refer to it"):
        list(bucket.items())
    with pytest.raises(BboltError, match="refers to itself"):
        bucket.get(b"key00000000")
    with pytest.raises(BboltError, match="two things"):
        check(Database(file))


def tower(levels: int, children: int) -> bytes:
    """A file whose bucket is so many branch pages, each with so many entries for the one below it,
    on a leaf page without items.
    """
    leaf, top = 2, 2 + levels
    pages = [layout.encode_leaf(leaf, [])]
    for number in range(leaf + 1, top + 1):
        entries = [(bytes([key]), number - 1) for key in range(1, children + 1)]
        pages.append(layout.encode_branch(number, entries))
    bucket = BucketValue(layout.BUCKET.pack(top, 0))
    pages.append(layout.encode_leaf(top + 1, [b"key", bucket]))
    pages.append(layout.encode_free_list(top + 2))
    meta = layout.Meta(PAGE, top + 1, 0, top + 2, top + 3, 2)
    heads = [layout.encode_meta(number, meta) for number in (0, 1)]
    return b"".join(heads + [layout.pad(page, PAGE) for page in pages])


@pytest.mark.parametrize(
    ("levels", "children", "text"),
    [
        # (2^60 leaf pages without an item between them, if pages may be shared.)
        (60, 2, "two pages refer to it|its parent"),
        (5000, 1, "too deep"),
    ],
)
def test_a_tree_larger_than_its_file_is_refused_at_once(
    levels: int, children: int, text: str
) -> None:
    database = Database(tower(levels, children))
    bucket = database.bucket(b"key")
    assert bucket is not None
    with pytest.raises(BboltError, match=text):
        list(bucket.items())
    with pytest.raises(BboltError, match=text):
        check(database)


@pytest.mark.parametrize("kind", [layout.LEAF, layout.BRANCH])
def test_elements_that_share_a_value_do_not_take_many_times_the_memory(kind: int) -> None:
    count, size = 1000, 1 << 20
    data, elements = HEADER_SIZE + count * layout.ELEMENT_SIZE, []
    for number in range(count):
        position = data - HEADER_SIZE - number * layout.ELEMENT_SIZE
        fields = (position, size, 2) if kind == layout.BRANCH else (0, position, 8, size - 8)
        element = layout.BRANCH_ELEMENT if kind == layout.BRANCH else layout.LEAF_ELEMENT
        elements.append(element.pack(*fields))
    shared = layout.HEADER.pack(3, kind, count, 0) + b"".join(elements) + bytes(size)
    pages = [layout.pad(shared, PAGE)]
    after = 3 + len(pages[0]) // PAGE
    pages.append(layout.encode_leaf(after, [b"key", BucketValue(layout.BUCKET.pack(3, 0))]))
    pages.append(layout.encode_free_list(after + 1))
    meta = layout.Meta(PAGE, after, 0, after + 1, after + 2, 2)
    heads = [layout.encode_meta(number, meta) for number in (0, 1)] + [bytes(PAGE)]
    file = b"".join(heads + [layout.pad(page, PAGE) for page in pages])
    bucket = Database(file).bucket(b"key")
    assert bucket is not None
    tracemalloc.start()
    try:
        with pytest.raises(BboltError, match="elements overlap"):
            list(bucket.items())
        assert tracemalloc.get_traced_memory()[1] < 10 * size
    finally:
        tracemalloc.stop()


def test_a_meta_page_that_says_it_is_another_page_is_found() -> None:
    for page in (0, 1):
        with pytest.raises(BboltError, match=f"page {page}: it says it is page 7"):
            check(Database(changed(page * PAGE, b"\7")))


def test_a_bucket_within_one_that_has_no_page_of_its_own_is_found() -> None:
    inner = BucketValue(layout.BUCKET.pack(0, 0) + layout.encode_leaf(0, []))
    outer = BucketValue(layout.BUCKET.pack(0, 0) + layout.encode_leaf(0, [b"inner", inner]))
    writer = Writer(PAGE)
    file = assemble(writer, [], {b"outer": outer})
    with pytest.raises(BboltError, match="inline page: it holds a bucket, b'inner'"):
        check(Database(file))


def test_the_older_meta_page_serves_where_the_newer_is_damaged() -> None:
    for page in (0, 1):
        file = changed(page * PAGE + 40, b"\xff")
        database = Database(file)
        assert database.meta.transaction == (1 if page == 0 else 2)
        check(database)


def test_a_file_that_was_cut_is_refused() -> None:
    with pytest.raises(BboltError, match="bytes of"):
        Database(FILE[:-PAGE])


@pytest.mark.parametrize(
    ("position", "data", "text"),
    [
        (16, b"\0\0\0\0", "no bbolt file"),
        (20, b"\3", "version 3"),
        (8, b"\2\0", "no meta page"),
        (40, b"\xff", "checksum mismatch"),
    ],
)
def test_an_invalid_meta_page_says_why(position: int, data: bytes, text: str) -> None:
    with pytest.raises(BboltError, match=text):
        layout.decode_meta(memoryview(changed(position, data)))


def test_a_page_that_nothing_refers_to_is_found() -> None:
    meta = layout.decode_meta(memoryview(FILE))
    meta = meta._replace(pages=meta.pages + 1)
    more = layout.encode_meta(0, meta) + FILE[PAGE:] + bytes(PAGE)
    with pytest.raises(BboltError, match="neither free nor part"):
        check(Database(more))


def test_a_key_out_of_its_parents_range_is_found() -> None:
    leaf = page_of_kind(layout.LEAF)
    where = FILE.index(b"key00000000", leaf * PAGE)
    with pytest.raises(BboltError, match="range of its parent"):
        check(Database(changed(where, b"kex")))
