"""Compaction really removes what can no longer be read, and only that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rusd.mvcc import compaction
from rusd.mvcc.revision import parse_revision_key
from rusd.mvcc.store import Store
from rusd.proto import rpc_pb2 as rpc
from rusd.storage import Engine, Family


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    engine = Engine.open(tmp_path / "db")
    yield Store(engine)
    engine.close()


def put(store: Store, key: bytes, times: int = 1) -> None:
    for _ in range(times):
        writer = store.begin()
        txn = writer.txn()
        txn.put(key, b"v", 0)
        txn.end()
        writer.commit()


def delete(store: Store, key: bytes) -> None:
    writer = store.begin()
    txn = writer.txn()
    txn.delete(key)
    txn.end()
    writer.commit()


def compact(store: Store, revision: int) -> int:
    """Compact and remove; returns the number of slices it took."""
    writer = store.begin()
    writer.compact(revision)
    writer.commit()
    return sum(1 for _ in store.compact_slices())


def kept(store: Store) -> list[int]:
    """Main revisions still on disk; the index must agree."""
    revisions = [parse_revision_key(key)[0] for key in keys(store, Family.KEY)]
    assert len(keys(store, Family.INDEX)) == len(revisions)
    return revisions


def keys(store: Store, family: Family) -> list[bytes]:
    return list(store.engine.scan_keys(family, b"", None))


def test_superseded_versions_leave_the_disk(store: Store) -> None:
    put(store, b"a", 3)  # 2 3 4
    put(store, b"b")  # 5
    put(store, b"a")  # 6
    compact(store, 5)
    assert kept(store) == [4, 5, 6]


def test_a_survivor_of_one_compaction_goes_with_the_next_that_supersedes_it(store: Store) -> None:
    put(store, b"a")  # 2
    compact(store, 2)
    put(store, b"b")  # 3
    put(store, b"a")  # 4
    compact(store, 3)
    assert kept(store) == [2, 3, 4]
    compact(store, 4)
    assert kept(store) == [3, 4]


def test_a_tombstone_goes_once_it_lies_below_the_compact_revision(store: Store) -> None:
    put(store, b"a")  # 2
    delete(store, b"a")  # 3
    put(store, b"b")  # 4
    compact(store, 3)
    assert kept(store) == [3, 4], "a watch may still start at 3 and must see the deletion"
    compact(store, 4)
    assert kept(store) == [4]


def test_a_compaction_that_was_cut_off_goes_on_after_a_restart(store: Store) -> None:
    for n in range(40):
        put(store, b"k%d" % (n % 4))
    writer = store.begin()
    writer.compact(40)
    writer.commit()
    reopened = Store(store.engine)
    assert (reopened.compact_revision, reopened.finished_compact_revision) == (40, -1)
    for _ in reopened.compact_slices():
        pass
    assert kept(reopened) == [37, 38, 39, 40, 41]
    assert Store(store.engine).finished_compact_revision == 40


def test_many_versions_of_one_key_are_removed_in_slices(store: Store) -> None:
    writer = store.begin()
    for _ in range(3 * compaction.SLICE):
        txn = writer.txn()
        txn.put(b"hot", b"", 0)
        txn.end()
    writer.commit()
    assert compact(store, store.revision) >= 3
    assert kept(store) == [store.revision]


def test_work_follows_what_changed_since_the_last_compaction(store: Store) -> None:
    """A later compaction does not look at the survivors of earlier ones."""
    writer = store.begin()
    for n in range(3 * compaction.SLICE):
        txn = writer.txn()
        txn.put(b"k%d" % n, b"", 0)
        txn.end()
    writer.commit()
    first = compact(store, store.revision)
    put(store, b"k1")
    writer = store.begin()
    writer.compact(store.revision)
    writer.commit()
    steps = sum(1 for _ in compaction.remove(store.engine, store.revision - 1, store.revision))
    assert steps < 4 < first


@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_no_slice_removes_more_versions_than_the_limit(store: Store, limit: int) -> None:
    for n in range(60):
        put(store, b"k%d" % (n % 3))
    delete(store, b"k1")
    put(store, b"hot", 40)
    writer = store.begin()
    writer.compact(store.revision)
    writer.commit()
    before = len(keys(store, Family.KEY))
    removed = list(store.compact_slices(limit))
    assert max(removed) <= limit
    assert sum(removed) == before - len(kept(store)) == 98


def test_an_old_revision_is_read_by_seeking_where_a_key_changed_often(store: Store) -> None:
    put(store, b"hot", 100)
    put(store, b"other")
    asked = rpc.RangeRequest(key=b"\0", range_end=b"\0", revision=5)
    found = store.range(asked)
    assert found.count == 1
    put(store, b"zzz")
    assert store.range(rpc.RangeRequest(key=b"\0", range_end=b"\0", revision=102)).count == 2


def hash_of(store: Store, revision: int = 0) -> tuple[int, int, int]:
    slices = store.hash_kv(revision)
    while True:
        try:
            next(slices)
        except StopIteration as stop:
            return tuple(stop.value)


def test_members_agree_on_hash_kv_however_far_removal_has_come(tmp_path: Path) -> None:
    hashes = set()
    for name in ("removed", "pending"):
        engine = Engine.open(tmp_path / name)
        store = Store(engine)
        for n in range(60):
            put(store, b"k%d" % (n % 7))
            if n % 5 == 0:
                delete(store, b"k%d" % (n % 3))
        writer = store.begin()
        writer.compact(40)
        writer.commit()
        if name == "removed":
            for _ in store.compact_slices():
                pass
        hashes.add((hash_of(store), hash_of(store, 45)))
        engine.close()
    assert len(hashes) == 1
