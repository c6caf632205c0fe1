"""The size of the store: etcd's for the same rows, right after anything, and cheap to know."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rusd.mvcc import size
from rusd.mvcc.size import EMPTY, SPARE, row_size
from rusd.mvcc.store import Store
from rusd.storage import Batch, Engine, Family
from rusd.wire.keyvalue import encode


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    one = Engine.open(tmp_path / "db")
    yield one
    one.close()


def change(store: Store, key: bytes, value: bytes | None) -> None:
    writer = store.begin()
    if value is None:
        writer.delete(key)
    else:
        writer.put(key, value, 0)
    writer.commit()


def compact(store: Store, revision: int) -> None:
    writer = store.begin()
    writer.compact(revision)
    writer.commit()
    for _ in store.compact_slices():
        pass


def rows(store: Store) -> int:
    """Return the size of all stored versions, counted one by one."""
    return EMPTY + sum(row_size(len(kv)) for _, kv in store.engine.scan(Family.KEY, b"", None))


#: (bytes of a value, keys, dbSizeInUse of a defragmented etcd 3.7.3 that holds them).
MEASURED = [
    (10, 60_000, 4_587_520),
    (256, 40_000, 15_048_704),
    (1000, 15_000, 20_684_800),
    (2048, 8000, 32_927_744),
    (4096, 5000, 30_826_496),
    (20_000, 1500, 30_765_056),
    (1_000_000, 30, 30_056_448),
]


@pytest.mark.parametrize(("value", "keys", "in_use"), MEASURED)
def test_a_version_counts_as_what_it_takes_in_etcd(value: int, keys: int, in_use: int) -> None:
    kv = encode(b"key/00000000", 300, 300, 1, bytes(value), 0)
    assert EMPTY + keys * row_size(len(kv)) == pytest.approx(in_use, rel=0.02)


changes = st.lists(
    st.one_of(
        st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.binary(max_size=5000)),
        st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.none()),
        st.integers(0, 6),
        st.just("restart"),
        st.just("defragment"),
    ),
    max_size=40,
)


@settings(max_examples=40)
@given(changes)
def test_what_is_in_use_is_what_the_rows_take_after_any_changes(
    changes: list[tuple[bytes, bytes | None] | int | str],
) -> None:
    before, size.MARK_EVERY = size.MARK_EVERY, 1
    with tempfile.TemporaryDirectory() as directory:
        engine = Engine.open(Path(directory) / "db")
        store = Store(engine)
        most = EMPTY
        try:
            for step in changes:
                if isinstance(step, tuple):
                    change(store, *step)
                elif step == "restart":
                    store = Store(engine)
                elif step == "defragment":
                    store.defragmented()
                    most = EMPTY
                elif store.compact_revision < store.revision - int(step) > 0:
                    compact(store, store.revision - int(step))
                most = max(most, rows(store))
                assert store.size.in_use == rows(store)
                assert store.size.allocated == most + SPARE
        finally:
            size.MARK_EVERY = before
            engine.close()


def test_between_two_marks_what_a_compaction_removes_is_estimated(engine: Engine) -> None:
    store = Store(engine)
    for n in range(3000):
        change(store, b"k%d" % (n % 10), bytes(n % 700))
    compact(store, 1500)
    store = Store(engine)
    assert store.size.in_use == pytest.approx(rows(store), rel=0.05)
    compact(store, store.revision)
    assert store.size.in_use == rows(store), "no error is carried on"


@pytest.mark.parametrize("behind", [-3, -1, 0, 1, 3])
def test_a_change_that_supersedes_much_is_not_spread_over_its_neighbours(
    engine: Engine, behind: int
) -> None:
    store = Store(engine)
    for number in range(2000):
        change(store, b"key/%d" % number, bytes(1000))
    for _ in range(100):
        change(store, b"a", b"small")
    writer = store.begin()
    txn = writer.txn()
    for number in range(2000):
        txn.delete(b"key/%d" % number)
    txn.end()
    writer.commit()
    deleted = store.revision
    for _ in range(100):
        change(store, b"a", b"small")
    compact(store, deleted + behind)
    assert store.size.in_use == pytest.approx(rows(store), abs=100_000)


def test_few_marks_are_kept(engine: Engine) -> None:
    store = Store(engine)
    for n in range(3000):
        change(store, b"k", b"%d" % n)
    assert len(list(engine.scan_keys(Family.META, b"size/", b"size0"))) == 3
    compact(store, 2500)
    assert len(list(engine.scan_keys(Family.META, b"size/", b"size0"))) == 1


def test_a_database_of_an_earlier_version_is_counted_when_it_is_opened(engine: Engine) -> None:
    store = Store(engine)
    for n in range(50):
        change(store, b"k%d" % (n % 7), bytes(n) if n % 5 else None)
    expected = store.size.in_use
    batch = Batch()
    batch.delete(Family.META, b"size")
    engine.write(batch)
    assert Store(engine).size.in_use == expected


def test_a_database_that_an_earlier_version_wrote_to_since_is_counted_again(
    engine: Engine,
) -> None:
    store = Store(engine)
    change(store, b"k", b"v")
    record = engine.get(Family.META, b"size")
    assert record is not None
    change(store, b"k", bytes(9000))
    batch = Batch()
    batch.put(Family.META, b"size", record)
    engine.write(batch)
    assert Store(engine).size.in_use == rows(store)


def test_nothing_is_scanned_when_the_count_is_there(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(engine)
    for n in range(50):
        change(store, b"k%d" % n, b"v")
    monkeypatch.setattr(engine, "scan", None)
    assert Store(engine).size.in_use == store.size.in_use
