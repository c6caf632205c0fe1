"""HashKV equals etcd's, also after compactions: compared with a plain reading of its rules."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import google_crc32c
from hypothesis import given, settings
from hypothesis import strategies as st

from rusd.base.errors import Refusal
from rusd.mvcc.errors import Compacted
from rusd.mvcc.hash import MAX_HASHES
from rusd.mvcc.revision import parse_revision_key, revision_key
from rusd.mvcc.store import Store
from rusd.storage import Engine, Family
from rusd.wire.keyvalue import key_of

T = TypeVar("T")


class Row(NamedTuple):
    """A version as it is stored."""

    main: int
    tombstone: bool
    revision: bytes
    kv: bytes


class Rules:
    """The rows that etcd hashes: its key index and `kvHasher`, over a list of all rows."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.compacted = -1
        self.stored: dict[int, tuple[int, int, int]] = {}

    def compact(self, revision: int) -> None:
        keep = self._newest(revision, tombstones=True)
        self.stored[revision] = self._hash(revision, keep)
        self.rows = [row for row in self.rows if row.main > revision or row in keep]
        self.compacted = revision
        for old in sorted(self.stored)[:-MAX_HASHES]:
            del self.stored[old]

    def hash(self, revision: int) -> tuple[int, int, int]:
        """(hash, compact revision, revision)."""
        if revision in self.stored:
            return self.stored[revision]
        return self._hash(revision, self._newest(revision, tombstones=False))

    def _newest(self, revision: int, *, tombstones: bool) -> set[Row]:
        newest = {key_of(row.kv): row for row in self.rows if row.main <= revision}
        at = revision if tombstones else None
        return {row for row in newest.values() if not row.tombstone or row.main == at}

    def _hash(self, revision: int, keep: set[Row]) -> tuple[int, int, int]:
        checksum = google_crc32c.extend(0, b"key")
        for row in self.rows:
            gone = row.main <= self.compacted and keep and row not in keep
            marked = row.main == self.compacted and row.tombstone
            if row.main <= revision and not gone and not marked:
                checksum = google_crc32c.extend(checksum, row.revision + row.kv)
        return checksum, self.compacted, revision


def run(steps: Generator[Any, None, T]) -> T:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


def rows_of(store: Store, revision: int) -> list[Row]:
    found = store.engine.scan(Family.KEY, revision_key(revision), revision_key(revision + 1))
    return [Row(revision, parse_revision_key(key)[2], key, kv) for key, kv in found]


def compact(store: Store, revision: int, *, physically: bool = True) -> None:
    writer = store.begin()
    writer.compact(revision)
    writer.commit()
    if physically:
        run(store.compact_slices())


def change(store: Store, key: bytes, deletes: bool) -> None:
    writer = store.begin()
    if deletes:
        writer.delete(key)
    else:
        writer.put(key, b"value", 0)
    writer.commit()


changes = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from([b"a", b"b", b"c\0", b"c"])),
        st.tuples(st.just("delete"), st.sampled_from([b"a", b"b", b"c\0", b"c"])),
        st.just(("clear", b"")),
    ),
    max_size=8,
)
#: Some changes, then a compaction to so many revisions before the newest, or a restart.
rounds = st.lists(
    st.tuples(
        changes,
        st.one_of(st.tuples(st.just("compact"), st.integers(0, 3)), st.just(("restart", 0))),
    ),
    min_size=2,
    max_size=8,
)


@settings(max_examples=40)
@given(rounds)
def test_hash_kv_of_every_revision_is_etcds_after_any_compactions(
    rounds: list[tuple[list[tuple[str, bytes]], tuple[str, int]]],
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        engine = Engine.open(Path(directory) / "db")
        store, rules = Store(engine), Rules()
        steps: list[tuple[str, Any]] = []
        for changes, last in rounds:
            steps += [*changes, last]
        for kind, argument in steps:
            before = store.revision
            if kind in ("put", "delete"):
                change(store, argument, kind == "delete")
            elif kind == "clear":
                for key in list(engine.scan_keys(Family.CURRENT, b"", None)):
                    change(store, key, True)
            elif kind == "restart":
                store, rules.stored = Store(engine), {}
            elif store.revision - argument > max(store.compact_revision, 1):
                revision = store.revision - argument
                compact(store, revision)
                rules.compact(revision)
            for revision in range(before + 1, store.revision + 1):
                rules.rows += rows_of(store, revision)
            for revision in {*range(max(rules.compacted, 1), store.revision + 1), *rules.stored}:
                assert tuple(run(store.hash_kv(revision))) == rules.hash(revision)
        engine.close()


def test_a_compaction_that_came_while_another_removed_has_no_hash_of_its_own(
    tmp_path: Path,
) -> None:
    engine = Engine.open(tmp_path / "db")
    store = Store(engine)
    for _ in range(9):
        change(store, b"k", False)
    compact(store, 4, physically=False)
    removal = store.compact_slices()
    next(removal)
    compact(store, 6, physically=False)
    for _ in removal:
        pass
    run(store.compact_slices())
    assert run(store.hash_kv(4)).compact_revision == -1, "taken, though 4 cannot be read any more"
    assert run(store.hash_kv(6)).compact_revision == 6, "made anew"
    compact(store, 8)
    assert run(store.hash_kv(8)).compact_revision == 6
    engine.close()


def test_an_unfinished_compaction_has_no_hash_after_a_restart(tmp_path: Path) -> None:
    engine = Engine.open(tmp_path / "db")
    store = Store(engine)
    for _ in range(9):
        change(store, b"k", False)
    compact(store, 4, physically=False)
    store = Store(engine)
    run(store.compact_slices())
    assert run(store.hash_kv(4)).compact_revision == 4
    engine.close()


def test_the_hashes_of_the_last_ten_compactions_are_kept(tmp_path: Path) -> None:
    engine = Engine.open(tmp_path / "db")
    store = Store(engine)
    for _ in range(13):
        change(store, b"k", False)
        compact(store, store.revision)
    answered = []
    for revision in range(2, 15):
        try:
            answered.append(run(store.hash_kv(revision)).hash_revision)
        except Refusal as error:
            assert isinstance(error, Compacted)
    assert answered == list(range(5, 15))
    engine.close()
