"""A level of the tree of keys: what a reader of all keys would find, without reading them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rusd.base.sliced import finish
from rusd.console.levels import Entry, behind, level
from rusd.mvcc.errors import Compacted
from rusd.mvcc.store import Store
from rusd.storage import Engine

SEPARATORS = [b"/", b"", b"::", b"\xff", b"\0"]
part = st.sampled_from([b"a", b"b", b"/", b"//", b":", b"::", b"\0", b"\xff"])
key = st.lists(part, min_size=1, max_size=5).map(b"".join)
prefix = st.lists(part, max_size=2).map(b"".join)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    engine = Engine.open(tmp_path / "db")
    yield Store(engine)
    engine.close()


def write(store: Store, put: set[bytes], gone: set[bytes] = frozenset()) -> None:  # type: ignore[assignment]
    """One revision for each key."""
    writer = store.begin()
    for one in sorted(put):
        writer.put(one, b"value", 0)
    for one in sorted(gone):
        writer.delete(one)
    writer.commit()


def expected(keys: set[bytes], prefix: bytes, separator: bytes) -> list[bytes]:
    found: dict[bytes, None] = {}
    for one in sorted(keys):
        if one.startswith(prefix):
            at = one.find(separator, len(prefix)) if separator else -1
            found[one if at < 0 else one[: at + len(separator)]] = None
    return list(found)


def read(store: Store, prefix: bytes, separator: bytes, revision: int, limit: int) -> list[Entry]:
    """All pages."""
    entries: list[Entry] = []
    start: bytes | None = b""
    while start is not None:
        page = finish(level(store, prefix, separator, start, revision, limit))
        assert len(page.entries) <= limit
        assert page.entries or page.following is None
        entries += page.entries
        start = page.following
    return entries


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    first=st.sets(key, min_size=1, max_size=12),
    second=st.sets(key, max_size=6),
    below=prefix,
    separator=st.sampled_from(SEPARATORS),
    limit=st.integers(1, 4),
)
def test_a_level_holds_what_all_keys_have_below_the_prefix(
    store: Store, first: set[bytes], second: set[bytes], below: bytes, separator: bytes, limit: int
) -> None:
    write(store, first)
    then = store.revision
    write(store, second, gone=first & second)
    now = store.revision
    left = {one for one in first | second if store.get(one) is not None}
    for revision, keys in ((then, first), (now, left)):
        names = [entry.name for entry in read(store, below, separator, revision, limit)]
        assert names == expected(keys, below, separator)
    writer = store.begin()
    for one in first | second:
        writer.delete(one)
    writer.commit()


def test_an_entry_is_a_key_with_its_numbers_or_a_branch(store: Store) -> None:
    write(store, {b"a/1", b"a/2", b"b"})
    entries = read(store, b"", b"/", store.revision, 100)
    assert entries == [Entry(b"a/", None), Entry(b"b", (4, 4, 1, 0, 5))]


def test_a_key_that_equals_the_prefix_is_an_entry_below_it(store: Store) -> None:
    write(store, {b"a/", b"a/b"})
    assert [one.name for one in read(store, b"a/", b"/", store.revision, 100)] == [b"a/", b"a/b"]


def test_a_branch_is_read_by_one_search_however_many_keys_it_has(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(store, {b"%d/%06d" % (branch, number) for branch in range(3) for number in range(2000)})
    write(store, {b"9"})
    read_rows = 0
    rows = store.rows

    class Counted:
        def __init__(self, *asked: object) -> None:
            self._rows = rows(*asked)  # type: ignore[arg-type]

        def seeks(self) -> bool:
            return self._rows.seeks()

        def read(self, count: int) -> list[bytes]:
            nonlocal read_rows
            found = self._rows.read(count)
            read_rows += len(found)
            return found

    monkeypatch.setattr(store, "rows", Counted)
    for revision in (store.revision, store.revision - 1):
        read_rows = 0
        read(store, b"", b"/", revision, 100)
        assert read_rows <= 4


def test_a_level_at_a_compacted_revision_is_refused(store: Store) -> None:
    write(store, {b"a", b"b"})
    writer = store.begin()
    writer.compact(3)
    writer.commit()
    with pytest.raises(Compacted):
        read(store, b"", b"/", 2, 100)


def test_the_end_of_a_prefix_lies_behind_all_keys_that_begin_with_it() -> None:
    ends = {b"a": b"b", b"a\xff": b"b", b"\xff\xff": None, b"": None, b"a\0": b"a\x01"}
    assert {one: behind(one) for one in ends} == ends
