"""Files of the writer and of bbolt, sound and damaged: what bbolt itself says of them."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rusd.bbolt import BboltError, Database, Writer, check, layout
from rusd.bbolt.writer import LEAF
from tests.unit.bbolt import test_going_on as going_on
from tests.unit.bbolt.files import assemble, collect, go_on, make, numbered
from tests.unit.bbolt.real import PROGRAM, Change, Content, RealBbolt, Refused, content_of
from tests.unit.bbolt.test_round_trip import BUCKETS

pytestmark = pytest.mark.skipif(not PROGRAM, reason="make test-differential builds bbolt")

#: More in `make test-recovery`.
EXAMPLES = int(os.environ.get("RUSD_RECOVERY_EXAMPLES", "100"))
SETTINGS = settings(
    deadline=None,
    max_examples=EXAMPLES,
    suppress_health_check=[HealthCheck.too_slow],
)
PAGE = 1024


@pytest.fixture(scope="module")
def bbolt() -> Iterator[RealBbolt]:
    real = RealBbolt()
    yield real
    real.stop()


def ours(file: bytes) -> Content:
    """The content of a file after a check. Raises BboltError."""
    database = Database(file)
    check(database)
    return content_of(database.root)


def theirs(bbolt: RealBbolt, file: bytes) -> Content:
    """The same by bbolt. Raises Refused."""
    with TemporaryDirectory() as directory:
        path = Path(directory) / "db"
        path.write_bytes(file)
        return bbolt.read(path)


@SETTINGS
@given(
    buckets=BUCKETS,
    page_size=st.sampled_from([1024, 4096, 65536]),
    leaf=st.just(LEAF) | st.none(),
)
def test_bbolt_reads_what_is_written(
    bbolt: RealBbolt, buckets: dict[bytes, dict[bytes, bytes]], page_size: int, leaf: int | None
) -> None:
    assert theirs(bbolt, make(buckets, page_size, leaf or page_size)) == buckets


@pytest.mark.parametrize("full", [PAGE, LEAF])
def test_bbolt_reads_a_tree_of_several_levels_and_nested_buckets(
    bbolt: RealBbolt, full: int
) -> None:
    writer, pages = Writer(PAGE, full), list[bytes]()
    large = {b"a": b"1", b"b": b"2" * 1_500_000, b"c" * 3000: b"3"}
    values = collect(writer.bucket(large.items()), pages)
    inner = collect(writer.bucket(numbered(20_000)), pages)
    outer = collect(writer.bucket([(b"a", b"1"), (b"inner", inner)]), pages)
    file = assemble(writer, pages, {b"large": values, b"outer": outer})
    expected = {b"large": large, b"outer": {b"a": b"1", b"inner": dict(numbered(20_000))}}
    assert theirs(bbolt, file) == expected


@SETTINGS
@given(items=going_on.ITEMS, steps=going_on.STEPS, leaf=st.sampled_from([PAGE, 4 * PAGE]))
def test_bbolt_reads_a_file_that_went_on_from_an_earlier_one(
    bbolt: RealBbolt,
    items: dict[bytes, bytes],
    steps: list[tuple[going_on.Changes, dict[bytes, bytes]]],
    leaf: int,
) -> None:
    file = make({b"key": items}, PAGE, leaf)
    for changes, others in steps:
        items = going_on.changed(items, changes)
        file = go_on(file, b"key", items, {b"other": others}, leaf)
    assert theirs(bbolt, file) == {b"key": items, b"other": others}


NAMES = st.sampled_from([b"key", b"meta", b"\0", b"n" * 200])
KEYS = st.integers(0, 60).map(lambda number: b"%04d" % number) | st.binary(min_size=1, max_size=9)
CHANGES = st.builds(
    Change,
    st.lists(NAMES, min_size=1, max_size=3).map(tuple),
    KEYS,
    st.none() | st.binary(max_size=50) | st.integers(0, 5000).map(bytes),
) | NAMES.map(lambda name: Change((name,)))
TRANSACTIONS = st.lists(st.lists(CHANGES, max_size=40), max_size=6)


@SETTINGS
@given(
    transactions=TRANSACTIONS,
    page_size=st.sampled_from([1024, 4096, 65536]),
    free_list=st.sampled_from(["array", "hashmap"]),
    keep_free_list=st.booleans(),
)
def test_what_bbolt_writes_is_read(
    bbolt: RealBbolt,
    transactions: list[list[Change]],
    page_size: int,
    free_list: str,
    keep_free_list: bool,
) -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "db"
        bbolt.write(
            *(path, transactions),
            page_size=page_size,
            free_list=free_list,
            keep_free_list=keep_free_list,
        )
        try:
            expected = bbolt.read(path)
        except Refused as error:
            # (Of a bucket that was changed and removed in one transaction bbolt loses a page.)
            with pytest.raises(BboltError, match="neither free nor part of anything"):
                ours(path.read_bytes())
            assert "unreachable unfreed" in str(error)
        else:
            assert ours(path.read_bytes()) == expected


@pytest.fixture(scope="module")
def used(bbolt: RealBbolt, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file of bbolt with free pages, pages of several pages, nested and small buckets."""
    path = tmp_path_factory.mktemp("used") / "db"
    full = [Change((b"key",), key, value) for key, value in numbered(400)]
    gone = [Change((b"key",), key) for key, _ in numbered(150)]
    large = [Change((b"large",), b"%d" % number, bytes(3000)) for number in range(5)]
    nested = [Change((b"outer", b"inner"), key, value) for key, value in numbered(60)]
    small = [Change((b"outer", b"small"), b"a", b"1"), Change((b"meta",), b"term", b"1")]
    bbolt.write(path, [full, gone, large, nested, small], page_size=PAGE)
    return path.read_bytes()


def put(file: bytes, position: int, form: str, *values: int) -> bytes:
    data = struct.pack("<" + form, *values)
    return file[:position] + data + file[position + len(data) :]


def free_list(file: bytes) -> int:
    """Where the free list begins."""
    return Database(file).meta.free_list * PAGE


def tree(file: bytes) -> int:
    """Where the topmost page of the bucket of keys begins: a branch page."""
    bucket = Database(file).bucket(b"key")
    assert bucket is not None
    return bucket.root * PAGE


def leaf(file: bytes) -> int:
    """Where the first leaf page of the bucket of keys begins."""
    return int(layout.BRANCH_ELEMENT.unpack_from(file, tree(file) + 16)[2]) * PAGE


def with_meta(file: bytes, **changes: int) -> bytes:
    meta = Database(file).meta._replace(**changes)
    return layout.encode_meta(0, meta) + layout.encode_meta(1, meta) + file[2 * PAGE :]


def free_page(file: bytes, place: int = 0) -> int:
    return int(struct.unpack_from("<Q", file, free_list(file) + 16 + 8 * place)[0])


#: One of each kind that `bbolt check` looks for.
DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "two meta pages with a wrong checksum": lambda f: put(put(f, 60, "B", 9), PAGE + 60, "B", 9),
    "another format": lambda f: put(put(f, 16, "I", 1), PAGE + 16, "I", 1),
    "a later version": lambda f: put(put(f, 20, "I", 3), PAGE + 20, "I", 3),
    "the file ends before the mark": lambda f: with_meta(f, pages=len(f) // PAGE + 10),
    "the root is no page": lambda f: with_meta(f, root=1 << 40),
    "the root is the free list": lambda f: with_meta(f, root=Database(f).meta.free_list),
    "the free list is a leaf": lambda f: with_meta(f, free_list=leaf(f) // PAGE),
    "the free list is out of the file": lambda f: with_meta(f, free_list=1 << 40),
    "a free page is listed twice": lambda f: put(f, free_list(f) + 16, "Q", free_page(f, 1)),
    "a page in use is free": lambda f: put(f, free_list(f) + 16, "Q", leaf(f) // PAGE),
    "a free page is not listed": lambda f: put(
        f, free_list(f) + 10, "H", struct.unpack_from("<H", f, free_list(f) + 10)[0] - 1
    ),
    "two entries for one page": lambda f: put(f, tree(f) + 16 + 16 + 8, "Q", leaf(f) // PAGE),
    "a page refers to itself": lambda f: put(f, tree(f) + 16 + 8, "Q", tree(f) // PAGE),
    "a page refers to a meta page": lambda f: put(f, tree(f) + 16 + 8, "Q", 1),
    "a page refers out of the file": lambda f: put(f, tree(f) + 16 + 8, "Q", 1 << 30),
    "a leaf of no kind": lambda f: put(f, leaf(f) + 8, "H", 0),
    "a leaf of an unknown kind": lambda f: put(f, leaf(f) + 8, "H", 0x40),
    "a leaf that says it is another page": lambda f: put(f, leaf(f), "Q", 77),
    "a leaf with pages of others": lambda f: put(f, leaf(f) + 12, "I", 3),
    "keys of a leaf out of order": lambda f: f.replace(b"key00000151", b"key00000159", 1),
    "two equal keys in a leaf": lambda f: put(
        f, leaf(f) + 16 + 4, "II", struct.unpack_from("<I", f, leaf(f) + 36)[0] + 16, 11
    ),
    "keys of a branch out of order": lambda f: put(
        f, tree(f) + 16 + 16, "I", struct.unpack_from("<I", f, tree(f) + 48)[0] + 16
    ),
    "a key below its parent's": lambda f: put(f, f.index(b"key00000150", leaf(f)), "B", 1),
    "a key above the next one of its parent": lambda f: put(
        f, f.index(b"key00000150", leaf(f)), "B", 255
    ),
    "a nested bucket without a page": lambda f: put(f, f.index(b"inner") + 5, "Q", 1 << 40),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_what_bbolt_finds_is_found(bbolt: RealBbolt, used: bytes, kind: str) -> None:
    damaged = DAMAGE[kind](used)
    assert damaged != used
    with pytest.raises(Refused):
        theirs(bbolt, damaged)
    with pytest.raises(BboltError):
        ours(damaged)


def test_the_file_to_damage_is_sound(bbolt: RealBbolt, used: bytes) -> None:
    assert ours(used) == theirs(bbolt, used)
    assert free_page(used, 1) > free_page(used) > 1


@SETTINGS
@given(data=st.data())
def test_a_damaged_file_is_refused_or_read_as_bbolt_reads_it(
    bbolt: RealBbolt, used: bytes, data: st.DataObject
) -> None:
    meta = st.integers(0, 2 * PAGE - 1)
    anywhere = st.integers(0, len(used) - 1)
    pages = len(used) // PAGE
    # (Headers and elements stand at the beginning of a page.)
    heads = st.builds(
        lambda page, at: page * PAGE + at, st.integers(2, pages - 1), st.integers(0, 99)
    )
    edit = st.tuples(meta | anywhere | heads, st.binary(min_size=1, max_size=4))
    file = bytearray(used)
    for position, new in data.draw(st.lists(edit, min_size=1, max_size=3)):
        file[position : position + len(new)] = new
    try:
        found = ours(bytes(file))
    except BboltError:
        return
    assert found == theirs(bbolt, bytes(file))
