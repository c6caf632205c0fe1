"""Counts of keys by blocks are exact, at their revision, whatever is committed meanwhile."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rusd.base.sliced import finish
from rusd.mvcc import key_counts, range_query
from rusd.mvcc.read_view import ReadView
from rusd.mvcc.store import Store
from rusd.proto import rpc_pb2 as rpc
from rusd.storage import Cursor, Engine

KEYS = [b"%02d" % number for number in range(40)]
#: Intervals, some of them empty or without an end.
ENDS = [*KEYS, *[b"\0"] * 10]
#: How often each step is taken.
STEPS = [10, 10, 1, 10, 5, 10]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    engine = Engine.open(tmp_path / "db")
    yield Store(engine)
    engine.close()


def put(store: Store, *keys: bytes) -> None:
    writer = store.begin()
    txn = writer.txn()
    for key in keys:
        txn.put(key, b"v", 0)
    txn.end()
    writer.commit()


def delete(store: Store, *keys: bytes) -> None:
    writer = store.begin()
    for key in keys:
        writer.delete(key)
    writer.commit()


def delete_interval(store: Store, live: list[bytes]) -> None:
    """Delete keys as a range deletion of many keys does."""
    writer = store.begin()
    txn = writer.txn()
    bulk = txn.bulk_delete()
    bulk.add(live, [kv for kv in writer.kvs(live) if kv is not None], whole=True)
    finish(bulk.end())
    txn.end()
    writer.commit()


def request(start: bytes, end: bytes, limit: int = 0) -> rpc.RangeRequest:
    """A count, or a page of `limit` keys with a count."""
    return rpc.RangeRequest(key=start, range_end=end, limit=limit, count_only=not limit)


def within(keys: set[bytes], start: bytes, end: bytes) -> int:
    return sum(start <= key and (end == b"\0" or key < end) for key in keys)


def begin(slices: Any, expected: int, counting: list[tuple[Any, int]], steps: int = 1) -> None:
    """Do some steps of a count; keep it in `counting` if it is not finished."""
    for _ in range(steps):
        try:
            next(slices)
        except StopIteration as done:
            assert done.value.count == expected
            return
    counting.append((slices, expected))


@pytest.mark.parametrize("seed", range(30))
def test_counts_equal_those_of_a_set_while_commits_go_on(
    store: Store, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (
        ("BLOCK", 3), ("MIN_BLOCK", 1), ("MAX_BLOCK", 5), ("MAX_BLOCKS", 15),
        ("MAX_CHANGES", 12), ("SLICE", 2),
    ):  # fmt: skip
        monkeypatch.setattr(key_counts, name, value)
    monkeypatch.setattr(range_query, "SLICE", 1)
    chance = random.Random(seed)
    live = set(KEYS)
    put(store, *KEYS)
    counting: list[tuple[Any, int]] = []
    for _ in range(200):
        some = chance.choices(KEYS, k=chance.randint(1, 4))
        start, end = chance.choice(KEYS), chance.choice(ENDS)
        match chance.choices(("put", "delete", "clear", "count", "view", "step"), STEPS)[0]:
            case "put":
                put(store, *some)
                live.update(some)
            case "delete":
                delete(store, *some)
                live.difference_update(some)
            case "clear":
                if gone := sorted(key for key in live if start <= key < end):
                    delete_interval(store, gone)
                    live.difference_update(gone)
            case "count":
                expected = within(live, start, end)
                assert store.range(request(start, end)).count == expected
                page = request(start, end, chance.choice((0, 2)))
                begin(store.range_slices(page), expected, counting)
            case "view":
                view = ReadView(store, [(start, None if end == b"\0" else end)])
                counting.append((view.range_slices(request(start, end)), within(live, start, end)))
                del view
            case "step" if counting:
                slices, expected = counting.pop(0)
                begin(slices, expected, counting, chance.randint(1, 4))
    for slices, expected in counting:
        assert finish(slices).count == expected


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of rows that were read for counting."""
    found: list[int] = []
    keys = Cursor.keys

    def counted(self: Cursor, count: int) -> list[bytes]:
        rows = keys(self, count)
        found.append(len(rows))
        return rows

    monkeypatch.setattr(Cursor, "keys", counted)
    return found


def fill(store: Store, count: int) -> None:
    put(store, *(b"k%06d" % number for number in range(count)))


def test_a_second_count_reads_rows_at_the_ends_of_its_interval_only(
    store: Store, reads: list[int]
) -> None:
    fill(store, 20_000)
    assert store.range(request(b"k", b"l")).count == 20_000
    assert sum(reads) == 20_000
    reads.clear()
    put(store, b"k000500x", b"k020001")
    assert store.range(request(b"k", b"l")).count == 20_002
    assert store.range(request(b"k000123", b"k019777")).count == 19_655
    assert sum(reads) <= 4 * key_counts.BLOCK


def test_a_page_does_not_read_the_rows_behind_it_to_count_them(
    store: Store, reads: list[int]
) -> None:
    fill(store, 20_000)
    page = rpc.RangeRequest(key=b"k", range_end=b"l", limit=10)
    assert store.range(page).count == 20_000
    reads.clear()
    found = store.range(page)
    assert (found.count, found.more, len(found.framed)) == (20_000, True, 10)
    assert sum(reads) <= key_counts.BLOCK


def test_a_replaced_store_forgets_what_was_counted(store: Store, tmp_path: Path) -> None:
    fill(store, 3000)
    assert store.range(request(b"k", b"l")).count == 3000
    other = Engine.open(tmp_path / "other")
    store.reopen(other)
    assert store.range(request(b"k", b"l")).count == 0
    other.close()
