"""Long work in slices: the same answers as at once, whatever happens between two slices."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rusd.base.sliced import SLICE_BYTES
from rusd.mvcc import compaction, key_counts, range_query, rows
from rusd.mvcc import hash as hashes
from rusd.mvcc.errors import Compacted
from rusd.mvcc.store import Store
from rusd.proto import kv_pb2
from rusd.proto import rpc_pb2 as rpc
from rusd.storage import Engine
from rusd.wire.keyvalue import key_of, kv_of
from tests.unit.mvcc.test_store_equals_model import Pair, step

T = TypeVar("T")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    engine = Engine.open(tmp_path / "db")
    yield Store(engine)
    engine.close()


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices of a few rows."""
    shrink(monkeypatch)


def shrink(patch: pytest.MonkeyPatch) -> None:
    for module, name in (
        (range_query, "SLICE"), (range_query, "DECODED_SLICE"), (key_counts, "BLOCK"),
        (key_counts, "SLICE"), (rows, "_FETCH"), (rows, "_MAX_STEPS"), (rows, "_SOUGHT"),
        (range_query, "FREED_RUNS"), (compaction, "SLICE"), (hashes, "SLICE"),
    ):  # fmt: skip
        patch.setattr(module, name, 2)


def put(store: Store, *keys: bytes) -> None:
    """Each in a revision of its own."""
    writer = store.begin()
    for key in keys:
        writer.put(key, b"of %d" % (writer.revision + 1), 0)
    writer.commit()


def delete(store: Store, *keys: bytes) -> None:
    writer = store.begin()
    for key in keys:
        writer.delete(key)
    writer.commit()


def compact(store: Store, revision: int) -> None:
    """Compact, and remove at once."""
    writer = store.begin()
    writer.compact(revision)
    writer.commit()
    for _ in store.compact_slices():
        pass


def everything(**options: Any) -> rpc.RangeRequest:
    return rpc.RangeRequest(key=b"\0", range_end=b"\0", **options)


def run(slices: Generator[None, None, T]) -> T:
    while True:
        try:
            next(slices)
        except StopIteration as stop:
            result: T = stop.value
            return result


@settings(max_examples=100, deadline=None)
@given(st.lists(step, max_size=14))
def test_slices_of_any_size_read_like_the_model(steps: list[tuple[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        pair = Pair(Path(directory))
        for kind, argument in steps:
            if kind == "write":
                pair.write(argument)
            elif kind == "writer range":
                pair.write(*argument)
            elif kind == "range":
                pair.check_range(argument)
            elif kind == "compact":
                pair.compact(argument)
            elif kind == "remove":
                pair.remove(argument)
            else:
                pair.reopen()
        pair.check()
        pair.engine.close()


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("count_only", [False, True])
def test_a_read_of_the_past_that_a_compaction_overtakes_ends(
    store: Store, count_only: bool
) -> None:
    """Versions not read yet may be removed: keys would be missing from the answer."""
    names = [b"k%02d" % n for n in range(20)]
    put(store, *names)
    past = store.revision
    put(store, *names)
    slices = store.range_slices(everything(revision=past, count_only=count_only))
    next(slices)
    compact(store, store.revision)
    with pytest.raises(Compacted) as refused:
        run(slices)
    assert isinstance(refused.value, Compacted)


@pytest.mark.usefixtures("tiny")
def test_a_read_of_the_past_goes_on_beside_writes_and_older_compactions(store: Store) -> None:
    names = [b"k%02d" % n for n in range(20)]
    put(store, *names)
    put(store, *names)
    past = store.revision
    expected = store.range(everything()).kvs
    put(store, *names)
    slices = store.range_slices(everything(revision=past))
    next(slices)
    compact(store, past)
    put(store, *names, b"k005", b"z")
    delete(store, *names[10:])
    assert run(slices).kvs == expected


@pytest.mark.usefixtures("tiny")
def test_a_sliced_read_of_the_present_is_of_one_revision(store: Store) -> None:
    names = [b"k%02d" % n for n in range(20)]
    put(store, *names)
    for options in ({}, {"limit": 7}, {"sort_target": rpc.RangeRequest.MOD}, {"keys_only": True}):
        expected = store.range(everything(**options))
        slices = store.range_slices(everything(**options))
        next(slices)
        put(store, b"a", b"k05", b"z")
        delete(store, b"k07", b"k19")
        compact(store, store.revision)
        found = run(slices)
        assert (found.kvs, found.count, found.more) == (
            expected.kvs, expected.count, expected.more,
        )  # fmt: skip
        put(store, *names)


def test_rows_are_read_in_parts_that_their_bytes_bound(store: Store) -> None:
    names, size = [b"k%02d" % n for n in range(40)], 100_000
    for _ in range(2):
        writer = store.begin()
        for name in names:
            writer.put(name, b"v" * size, 0)
        writer.commit()
    changed = store.begin()
    changed.put(b"k", b"", 0)
    for source in (store.rows(b"k", b"l", store.revision - 1), changed.rows(b"k", b"l")):
        parts = []
        while part := source.read(1000):
            assert sum(map(len, part)) < SLICE_BYTES + rows._FETCH_FIRST * size
            parts += part
        assert [key_of(kv_of(row)) for row in parts if len(row) > size] == names


@pytest.mark.usefixtures("tiny")
def test_hash_kv_is_of_the_state_it_began_with(store: Store) -> None:
    names = [b"k%02d" % n for n in range(10)]
    put(store, *names, *names)
    delete(store, *names[:4])
    compact(store, 15)
    put(store, *names)
    revision = store.revision
    expected = run(store.hash_kv(revision))
    slices = store.hash_kv(revision)
    next(slices)
    put(store, *names)
    compact(store, store.revision)
    assert run(slices) == expected


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("descend", [False, True])
@pytest.mark.parametrize("limit", [0, 1, 5, 100])
def test_a_sort_over_many_slices_is_a_sort(store: Store, limit: int, descend: bool) -> None:
    names = [b"k%02d" % (n * 7 % 20) for n in range(20)]
    put(store, *names, *names[3:9], *names[5:12])
    order = rpc.RangeRequest.DESCEND if descend else rpc.RangeRequest.ASCEND
    for target, number in (
        (rpc.RangeRequest.VERSION, lambda kv: kv.version),
        (rpc.RangeRequest.CREATE, lambda kv: kv.create_revision),
        (rpc.RangeRequest.MOD, lambda kv: kv.mod_revision),
    ):
        asked = everything(limit=limit, sort_target=target, sort_order=order)
        found = store.range(asked)
        kvs = [kv_pb2.KeyValue.FromString(kv) for kv in store.range(everything()).kvs]
        kvs.sort(key=number, reverse=descend)
        assert [kv_pb2.KeyValue.FromString(kv) for kv in found.kvs] == kvs[: limit or None]
        assert (found.more, found.count) == (0 < limit < 20, 20)


def test_compaction_of_large_values_yields_between_pieces(store: Store) -> None:
    """A piece of history is bounded in bytes too."""
    writer = store.begin()
    for n in range(40):
        writer.put(b"k%d" % n, bytes(300_000), 0)
    writer.commit()
    put(store, *(b"k%d" % n for n in range(40)))
    writer = store.begin()
    writer.compact(store.revision)
    writer.commit()
    assert sum(1 for _ in store.compact_slices()) >= 3
    assert store.finished_compact_revision == store.revision


def test_a_gap_between_the_keys_of_an_older_revision_is_passed_in_slices(store: Store) -> None:
    """10,000 keys that did not live yet, between two that did."""
    put(store, b"a", b"z")
    put(store, *(b"k%05d" % number for number in range(10_000)))
    for request, found in (
        (rpc.RangeRequest(key=b"a", range_end=b"\0", revision=3), [b"a", b"z"]),
        (rpc.RangeRequest(key=b"b", range_end=b"y", revision=3), []),
        (rpc.RangeRequest(key=b"a", range_end=b"\0", revision=3, count_only=True), []),
        (
            rpc.RangeRequest(
                key=b"a", range_end=b"\0", revision=3, sort_target=rpc.RangeRequest.MOD
            ),
            [b"a", b"z"],
        ),
    ):
        steps = 0
        slices = store.range_slices(request)
        while True:
            try:
                next(slices)
            except StopIteration as end:
                result = end.value
                break
            steps += 1
        assert steps >= 10_000 / rows._SOUGHT - 1
        assert [kv_pb2.KeyValue.FromString(kv).key for kv in result.kvs] == found
        if request.count_only:
            assert result.count == 2
