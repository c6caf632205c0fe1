"""The store reads like plain dictionaries after any writes, compactions and restarts."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rusd.base.errors import Refusal
from rusd.base.sliced import finish
from rusd.mvcc import range_query
from rusd.mvcc.errors import Compacted, FutureRevision
from rusd.mvcc.store import Store
from rusd.proto import kv_pb2
from rusd.proto import rpc_pb2 as rpc
from rusd.storage import Engine
from rusd.wire.keyvalue import DELETE, Event
from tests.unit.mvcc.model import Change, Model, Version

keys = st.sampled_from([b"a", b"a\0", b"aa", b"b", b"b\0\0", b"c", b"\xff", b"\xff\xff"])
ends = st.sampled_from([b"", b"\0", b"b", b"b\0\0\0", b"\xff\xff", b"a"])
values = st.sampled_from([b"", b"1", b"22", b"\0" * 40])
operation = st.tuples(st.sampled_from(["put", "put", "delete"]), keys, values, st.integers(0, 2))
txn = st.lists(operation, min_size=1, max_size=4, unique_by=lambda one: one[1])
revisions = st.integers(0, 12)
request = st.fixed_dictionaries(
    {"key": keys, "range_end": ends},
    optional={
        "revision": revisions,
        "limit": st.integers(-1, 4),
        "sort_order": st.integers(0, 2),
        "sort_target": st.integers(0, 4),
        "keys_only": st.booleans(),
        "count_only": st.booleans(),
        "min_mod_revision": revisions,
        "max_mod_revision": revisions,
        "min_create_revision": revisions,
        "max_create_revision": revisions,
    },
)
#: Several txns in one writer, as one apply holds several requests.
step = st.one_of(
    st.tuples(st.just("write"), st.lists(txn, min_size=1, max_size=3)),
    st.tuples(st.just("write"), st.lists(txn, min_size=1, max_size=3)),
    st.tuples(st.just("range"), request),
    st.tuples(st.just("range"), request),
    st.tuples(st.just("writer range"), st.tuples(st.lists(txn, max_size=2), request)),
    st.tuples(st.just("compact"), revisions),
    st.tuples(st.just("remove"), st.integers(0, 3)),
    st.tuples(st.just("reopen"), st.none()),
)


class Pair:
    """A store and the model, given the same."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.engine = Engine.open(directory)
        self.store = Store(self.engine)
        self.model = Model()

    def write(self, txns: list[Any], then: Any = None) -> None:
        writer = self.store.begin()
        for operations in txns:
            one = writer.txn()
            for kind, key, value, lease in operations:
                if kind == "put":
                    one.put(key, value, lease)
                else:
                    one.delete(key)
            one.end()
            self.model.write(operations)
        assert writer.revision == self.model.revision
        if then is not None:
            asked = rpc.RangeRequest(**then)
            assert outcome(lambda: writer.range(asked)) == self.model.range(asked)
        writer.commit()

    def check_range(self, fields: dict[str, Any]) -> None:
        asked = rpc.RangeRequest(**fields)
        assert outcome(lambda: self.store.range(asked)) == self.model.range(asked)

    def compact(self, revision: int) -> None:
        writer = self.store.begin()
        try:
            writer.compact(revision)
        except Refusal as error:
            expected = Compacted if revision <= self.model.compacted else FutureRevision
            assert type(error) is expected
            return
        writer.commit()
        self.model.compacted = revision

    def remove(self, slices: int) -> None:
        """Physical removal, so many slices of it (0: all)."""
        work = self.store.compact_slices()
        for count, _ in enumerate(work, 1):
            if count == slices:
                work.close()
                return

    def reopen(self) -> None:
        self.engine.close()
        self.engine = Engine.open(self.directory)
        self.store = Store(self.engine)

    def check(self) -> None:
        assert self.store.revision == self.model.revision
        assert self.store.compact_revision == self.model.compacted
        for revision in range(1, self.model.revision + 2):
            self.check_range({"key": b"\0", "range_end": b"\0", "revision": revision})
        for key in (b"a", b"b", b"missing"):
            live = self.store.get(key)
            known = self.model.states[self.model.revision].get(key)
            assert (live is None) == (known is None)
            assert live is None or known is None or live.mod_revision == known.mod
        self.check_history()
        self.check_versions()

    def check_versions(self) -> None:
        """The changes of a key are those of the history, and the version that is oldest kept."""
        start = max(self.model.compacted, 1)
        for key in (b"a", b"a\0", b"aa", b"b", b"\xff", b"missing"):
            changes: list[tuple[Any, ...]] = []
            for revision in range(self.model.revision, start, -1):
                for change in self.model.changes[revision]:
                    if change.key == key:
                        changes.append(changed(revision, change.after))
            oldest = self.model.states[start].get(key)
            deleted = [c for c in self.model.changes.get(start, []) if c.key == key and not c.after]
            if oldest is not None:
                changes.append(changed(oldest.mod, oldest))
            elif deleted and start > 1:
                changes.append(changed(start, None))
            for limit in (1, 2, 100):
                found, more = finish(self.store.versions(key, self.store.revision, limit))
                if more or len(found) == limit:
                    assert (len(found), more) == (limit, len(changes) > limit)
                kept = changes[: len(found)]
                assert [tuple(one) for one in found] == kept
                # (A tombstone at the compact revision may be gone.)
                assert len(found) == limit or len(changes) - len(found) <= (oldest is None)
            if changes:
                newest = changes[0][0]
                found, _ = finish(self.store.versions(key, newest - 1, 100))
                assert [tuple(one) for one in found] == changes[1 : 1 + len(found)]

    def check_history(self) -> None:
        """From the compact revision on, events are what was written, newest state before them."""
        start = max(self.model.compacted, 1)
        told = dict(self.store.history(start, limit_revisions=1000))
        for revision in range(start + 1, self.model.revision + 1):
            events = told.get(revision, [])
            assert [shown(event) for event in events] == [
                expected(change, revision, self.model.compacted)
                for change in self.model.changes[revision]
            ]


def changed(revision: int, after: Version | None) -> tuple[Any, ...]:
    """A change as a `KeyVersion`."""
    if after is None:
        return (revision, True, 0, 0, 0, 0)
    return (revision, False, after.create, after.version, after.lease, len(after.value))


def outcome(ask: Any) -> Any:
    try:
        result = ask()
    except Refusal as error:
        return "future" if isinstance(error, FutureRevision) else "compacted"
    kvs = [kv_pb2.KeyValue.FromString(kv) for kv in result.kvs]
    return kvs, result.more, result.count


def shown(event: Event) -> tuple[bool, kv_pb2.KeyValue, kv_pb2.KeyValue | None]:
    before = None if event.prev is None else kv_pb2.KeyValue.FromString(event.prev)
    return event.type == DELETE, kv_pb2.KeyValue.FromString(event.kv), before


def expected(
    change: Change, revision: int, compacted: int
) -> tuple[bool, kv_pb2.KeyValue, kv_pb2.KeyValue | None]:
    before = change.before.message() if change.before and revision - 1 >= compacted else None
    if change.after is None:
        return True, kv_pb2.KeyValue(key=change.key, mod_revision=revision), before
    return False, change.after.message(), before


@settings(max_examples=150)
@given(st.lists(step, max_size=14))
def test_the_store_reads_like_the_model(steps: list[tuple[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
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
        pair.remove(0)
        pair.check()
        pair.engine.close()


def test_a_range_yields_between_slices_and_is_of_one_revision(tmp_path: Path) -> None:
    engine = Engine.open(tmp_path)
    store = Store(engine)
    writer = store.begin()
    for n in range(3 * range_query.SLICE):
        one = writer.txn()
        one.put(b"k%06d" % n, b"", 0)
        one.end()
    writer.commit()
    for limit in (0, 2 * range_query.SLICE):
        asked = rpc.RangeRequest(key=b"k", range_end=b"l", limit=limit)
        slices = store.range_slices(asked)
        next(slices)
        late = store.begin()
        one = late.txn()
        one.put(b"k999999%d" % limit, b"", 0)
        one.end()
        before = store.range(rpc.RangeRequest(key=b"k", range_end=b"l", count_only=True)).count
        late.commit()
        result = finish(slices)
        assert result.count == before
        assert len(result.kvs) == (limit or before)
    engine.close()
