"""Long requests in slices: the same results and the same bytes as at once, nothing of it visible
before its end, and nothing left of it if it never ends.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rusd.base import sliced
from rusd.base.errors import Refusal
from rusd.base.sliced import Meter
from rusd.mvcc import bulk_delete, key_counts, range_query, rows, writer
from rusd.proto import kv_pb2
from rusd.proto import rpc_pb2 as rpc
from rusd.raft.ports import Entry, Position, Request, Unfinished
from rusd.state import compare, entry_apply, lease_detachments, txn, write_txn
from rusd.state import database_directory as state_directory
from rusd.state.command import Kind, encode
from rusd.state.listeners import Listeners
from rusd.state.machine import StateMachine
from rusd.storage import Family
from rusd.wire import kv_response
from tests.sim.engine import MemoryEngine
from tests.unit.state.driver import Driver, delete_op, put_op, range_op, restore, txn_op

names = st.sampled_from([b"a", b"a\0", b"aa", b"b", b"c", b"ca", b"d", b"e", b"f", b"g"])
ends = st.sampled_from([b"\0", b"b", b"ca", b"d", b"f", b"h"])
leases = st.sampled_from([0, 0, 1, 2])
intervals = st.tuples(names, ends)


def _put(key: bytes, lease: int) -> rpc.RequestOp:
    return put_op(key, b"v" + key, lease=lease, prev_kv=True)


single = st.one_of(
    st.builds(_put, names, leases),
    st.builds(lambda pair: delete_op(*pair, prev_kv=True), intervals),
    st.builds(lambda pair, revision: range_op(*pair, revision=revision), intervals,
              st.sampled_from([0, 0, 3, 5, 8])),
)  # fmt: skip
conditions = st.builds(
    lambda pair, target, relation: rpc.Compare(
        key=pair[0], range_end=pair[1], target=target, result=relation, version=1
    ),
    st.tuples(names, st.one_of(st.just(b""), ends)),
    st.sampled_from([rpc.Compare.VERSION, rpc.Compare.VALUE, rpc.Compare.LEASE]),
    st.sampled_from([rpc.Compare.EQUAL, rpc.Compare.GREATER]),
)
distinct = st.lists(single, max_size=4)
txns = st.builds(
    lambda conditions, success, failure, nested: rpc.TxnRequest(
        compare=conditions, success=[*success, *(txn_op(success=n) for n in nested)],
        failure=failure,
    ),
    st.lists(conditions, max_size=2), distinct, distinct, st.lists(distinct, max_size=1),
)  # fmt: skip


def _payload(kind: Kind, request: Any) -> bytes:
    return encode(kind, request.SerializeToString())


requests = st.one_of(
    st.builds(lambda op: _payload(Kind.PUT, op.request_put), st.builds(_put, names, leases)),
    st.builds(lambda op: _payload(Kind.PUT, op.request_put), st.builds(_put, names, leases)),
    st.builds(lambda pair: _payload(Kind.DELETE_RANGE, delete_op(*pair, prev_kv=True)
              .request_delete_range), intervals),
    st.builds(lambda txn: _payload(Kind.TXN, txn), txns),
    st.builds(lambda one: _payload(Kind.LEASE_GRANT, rpc.LeaseGrantRequest(ID=one, TTL=60)),
              st.sampled_from([1, 2])),
    st.builds(lambda one: _payload(Kind.LEASE_REVOKE, rpc.LeaseRevokeRequest(ID=one)),
              st.sampled_from([1, 2])),
    st.builds(lambda one: _payload(Kind.COMPACT, rpc.CompactionRequest(revision=one)),
              st.integers(2, 8)),
)  # fmt: skip
logs = st.lists(st.lists(requests, min_size=1, max_size=6), min_size=1, max_size=6)


def shrink(patch: pytest.MonkeyPatch) -> None:
    """Everything above a key or two is long work."""
    for where, name, value in (
        (bulk_delete, "SLICE", 1), (write_txn, "SLICE", 2), (writer, "SPILL_WRITES", 3),
        (writer, "SPILL_AGAIN_WRITES", 1), (entry_apply, "MAX_APPLY_WRITES", 4),
        (entry_apply, "MAX_APPLY_READS", 2), (entry_apply, "EVENTS_PER_SLICE", 1),
        (compare, "SLICE", 1), (compare, "MAX_IMMEDIATE_OPERATIONS", 1), (Meter, "SLICE", 1),
        (lease_detachments, "_SINGLE_KEYS", 1), (lease_detachments, "_SLICE", 1),
        (range_query, "SLICE", 1), (key_counts, "SLICE", 1),
        (rows, "_FETCH", 2), (rows, "SLICE_BYTES", 1), (compare, "SLICE_BYTES", 0),
        (txn, "SLICE_BYTES", 0), (sliced, "SLICE_BYTES", 1), (kv_response, "SLICE_BYTES", 1),
    ):  # fmt: skip
        patch.setattr(where, name, value)


def in_memory(patch: pytest.MonkeyPatch) -> None:
    """The simulation's engine: quick, and a database that is dropped is like one after a kill."""
    patch.setattr(state_directory, "Engine", MemoryEngine)


def dump(state: StateMachine) -> dict[tuple[Family, bytes], bytes]:
    return {
        (family, key): value
        for family in Family
        for key, value in state.engine.scan(family, b"", None)
    }


def visible(state: StateMachine) -> Any:
    """Return the state that readers and watchers of the store can see."""
    store = state.store
    everything = rpc.RangeRequest(key=b"\0", range_end=b"\0")
    past = []
    for revision in range(max(1, store.compact_revision), store.revision + 1):
        asked = rpc.RangeRequest(key=b"\0", range_end=b"\0", revision=revision)
        past.append(store.range(asked).kvs)
    start = max(1, store.compact_revision)
    history = list(store.history(start, limit_revisions=1000))
    return (store.revision, store.compact_revision, store.range(everything).kvs, past, history,
            state.positions())  # fmt: skip


def attached(state: StateMachine) -> dict[int, set[bytes]]:
    return {lease.id: set(lease.keys) for lease in state.leases}


def entries_of(log: list[list[bytes]]) -> list[Entry]:
    return [
        Entry(Position(index, 1), [Request(payload, True) for payload in payloads])
        for index, payloads in enumerate(log, 2)
    ]


def steps(state: StateMachine, entries: list[Entry]) -> Iterator[list[object] | None]:
    """Apply; yields None between slices, results where some entries are applied."""
    while entries:
        begun = state.begin(entries)
        if isinstance(begun, Unfinished):
            slices, last = begun
            while True:
                yield None
                try:
                    next(slices)
                except StopIteration as end:
                    begun = end.value
                    break
            assert state.positions()[0].index == last
        assert isinstance(begun, list)
        yield begun
        reached = state.positions()[0].index
        entries = [entry for entry in entries if entry.position.index > reached]


def same(left: list[object], right: list[object]) -> bool:
    return len(left) == len(right) and all(
        type(one) is type(other) and (one == other or isinstance(one, Refusal))
        for one, other in zip(left, right, strict=True)
    )


@settings(max_examples=300, deadline=None)
@given(logs)
def test_a_sliced_apply_equals_one_at_once_and_shows_nothing_before(log: list[list[bytes]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        in_memory(patch)
        check_equal(log)


@settings(max_examples=15, deadline=None)
@given(logs)
def test_a_sliced_apply_on_disk_equals_one_at_once(log: list[list[bytes]]) -> None:
    check_equal(log)


def check_equal(log: list[list[bytes]]) -> None:
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        whole = StateMachine(Path(directory) / "whole")
        expected = whole.apply(entries_of(log))
        told: list[int] = []
        shrink(patch)
        sliced = StateMachine(Path(directory) / "sliced")
        sliced.listen(
            Listeners(events=lambda batches: told.extend(revision for revision, _ in batches))
        )
        results: list[object] = []
        before = visible(sliced)
        for step in steps(sliced, entries_of(log)):
            if sliced.positions() == before[-1]:
                assert visible(sliced) == before
                assert told == list(range(2, before[0] + 1))
            if step is not None:
                results += step
                before = visible(sliced)
                assert told == list(range(2, before[0] + 1))
        assert same(results, expected)
        assert dump(sliced) == dump(whole)
        assert visible(sliced) == visible(whole)
        assert attached(sliced) == attached(whole)
        whole.close()
        sliced.close()


@settings(max_examples=200, deadline=None)
@given(logs, st.data())
def test_an_apply_cut_short_is_forgotten_and_done_again(
    log: list[list[bytes]], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        in_memory(patch)
        whole = StateMachine(Path(directory) / "whole")
        whole.apply(entries_of(log))
        shrink(patch)
        sliced = StateMachine(Path(directory) / "sliced")
        number = sum(1 for _ in steps(StateMachine(Path(directory) / "count"), entries_of(log)))
        stop = data.draw(st.integers(0, number))
        committed = dump(sliced), visible(sliced), attached(sliced)
        for count, step in enumerate(steps(sliced, entries_of(log))):
            if step is not None or sliced.positions() != committed[1][-1]:
                committed = dump(sliced), visible(sliced), attached(sliced)
            if count == stop:
                break
        sliced = StateMachine(Path(directory) / "sliced")
        assert dump(sliced) == committed[0]
        assert visible(sliced) == committed[1]
        reached = sliced.positions()[0].index
        for _ in steps(sliced, [one for one in entries_of(log) if one.position.index > reached]):
            pass
        assert dump(sliced) == dump(whole)
        assert attached(sliced) == attached(whole)
        whole.close()
        sliced.close()


@pytest.fixture
def long(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> Driver:
    """300 keys, half of them attached to lease 7; slices are of one or two."""
    driver.grant(7)
    for number in range(300):
        driver.put(b"k%03d" % number, b"v", lease=7 if number % 2 else 0)
    shrink(monkeypatch)
    return driver


def begin(driver: Driver, kind: Kind, request: Any) -> Any:
    begun = driver.machine.begin([driver.entry([_payload(kind, request)])])
    assert isinstance(begun, Unfinished)
    return begun.slices


def delete_all() -> rpc.DeleteRangeRequest:
    return rpc.DeleteRangeRequest(key=b"k", range_end=b"l", prev_kv=True)


def test_no_copy_is_made_of_a_store_with_a_half_apply(long: Driver, tmp_path: Path) -> None:
    slices = begin(long, Kind.DELETE_RANGE, delete_all())
    for _ in range(20):
        next(slices)
    assert not long.machine.checkpoint(tmp_path / "copy")
    for _ in slices:
        pass
    assert long.machine.checkpoint(tmp_path / "copy")
    copy = StateMachine(tmp_path / "other")
    restore(copy, tmp_path / "copy")
    assert visible(copy) == visible(long.machine)
    copy.close()


def test_a_state_that_is_replaced_forgets_its_half_apply(long: Driver, tmp_path: Path) -> None:
    copy = long.machine.checkpoint(tmp_path / "copy")
    assert copy
    before = visible(long.machine)
    slices = begin(long, Kind.DELETE_RANGE, delete_all())
    for _ in range(20):
        next(slices)
    restore(long.machine, tmp_path / "copy")
    assert visible(long.machine) == before
    assert attached(long.machine)[7] == {b"k%03d" % number for number in range(1, 300, 2)}
    assert long.delete(b"k", b"l").deleted == 300


def test_a_sliced_apply_that_never_started_releases_the_store(long: Driver, tmp_path: Path) -> None:
    """`begin` runs the first slice, which may spill rows, before it returns the generator."""
    assert long.machine.checkpoint(tmp_path / "copy")
    begin(long, Kind.DELETE_RANGE, delete_all())
    assert not long.machine.checkpoint(tmp_path / "refused")
    restore(long.machine, tmp_path / "copy")
    assert long.machine.checkpoint(tmp_path / "again")
    assert long.delete(b"k", b"l").deleted == 300


def test_a_spill_inside_a_request_does_not_delay_the_next_yield(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests of one entry: some puts, a txn that spills the batch, more puts."""
    for where, name, value in (
        (writer, "SPILL_WRITES", 300), (entry_apply, "MAX_APPLY_WRITES", 30),
        (compare, "MAX_IMMEDIATE_OPERATIONS", 1), (Meter, "SLICE", 8),
    ):  # fmt: skip
        monkeypatch.setattr(where, name, value)
    puts = [_payload(Kind.PUT, rpc.PutRequest(key=b"p%03d" % one)) for one in range(96)]
    txn = rpc.TxnRequest(success=[put_op(b"t%03d" % one) for one in range(20)])
    entry = driver.entry([*puts, _payload(Kind.TXN, txn), *puts, *puts])
    made = [0]
    put = writer.Writer.put

    def counted(self: Any, *arguments: Any) -> Any:
        made[0] += 1
        return put(self, *arguments)

    monkeypatch.setattr(writer.Writer, "put", counted)
    begun = driver.machine.begin([entry])
    assert isinstance(begun, Unfinished)
    most = made[0]
    made[0] = 0
    for _ in begun.slices:
        most, made[0] = max(most, made[0]), 0
    # (A put makes three writes.)
    assert 0 < most <= 30 // 3 + 2


def test_what_was_read_for_an_apply_counts_as_well(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Puts over keys that exist, and conditions on others."""
    monkeypatch.setattr(entry_apply, "MAX_APPLY_READS", 30)
    keys = [b"k%03d" % one for one in range(200)]
    for key in keys:
        driver.put(key)
    absent = rpc.Compare.CREATE
    txns = [
        rpc.TxnRequest(
            compare=[rpc.Compare(key=key, target=absent, create_revision=0)],
            failure=[put_op(other)],
        )
        for key, other in zip(keys[:100], keys[100:], strict=True)
    ]
    begun = driver.machine.begin([driver.entry([_payload(Kind.TXN, one) for one in txns])])
    assert isinstance(begun, Unfinished)
    assert sum(1 for _ in begun.slices) >= 200 // (30 + 2)


def test_no_slice_of_a_range_deletion_handles_more_than_its_share(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted in rows, since a time would depend on the machine."""
    for start in range(0, 5000, 100):
        driver.txn(success=[put_op(b"k%05d" % one) for one in range(start, start + 100)])
    read = [0]
    original = rows.CurrentRows.__init__

    def count(self: Any, *arguments: Any) -> None:
        original(self, *arguments)
        take = self.read

        def counted(wanted: int) -> list[bytes]:
            found: list[bytes] = take(wanted)
            read[0] += len(found)
            return found

        self.read = counted

    monkeypatch.setattr(rows.CurrentRows, "__init__", count)
    slices = begin(driver, Kind.DELETE_RANGE, delete_all())
    most = read[0]
    for _ in slices:
        most, read[0] = max(most, read[0]), 0
    assert 0 < most <= 3 * write_txn.SLICE


def test_the_end_of_a_lease_deletes_what_lies_between_others(long: Driver) -> None:
    """Keys of the lease and others alternate: no interval may be deleted as a whole."""
    for _ in begin(long, Kind.LEASE_REVOKE, rpc.LeaseRevokeRequest(ID=7)):
        pass
    assert [kv.key for kv in long.all()] == [b"k%03d" % number for number in range(0, 300, 2)]
    assert attached(long.machine) == {}
    assert not list(long.machine.engine.scan(Family.LEASE_KEY, b"", None))


def test_previous_values_of_a_long_deletion_come_in_order(long: Driver) -> None:
    slices = begin(long, Kind.DELETE_RANGE, delete_all())
    while True:
        try:
            next(slices)
        except StopIteration as end:
            (applied,) = end.value
            break
    response = rpc.DeleteRangeResponse.FromString(applied.body)
    assert response.deleted == 300
    assert [kv.key for kv in response.prev_kvs] == [b"k%03d" % number for number in range(300)]
    assert all(isinstance(kv, kv_pb2.KeyValue) for kv in response.prev_kvs)


def test_the_end_of_a_lease_goes_by_what_its_entry_did_before(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that was put between those of the lease stays; one that was attached goes."""
    driver.grant(7)
    for number in range(40):
        driver.put(b"k%03d" % number, lease=7)
    shrink(monkeypatch)
    payloads = [
        _payload(Kind.PUT, rpc.PutRequest(key=b"k010+", value=b"stays")),
        _payload(Kind.PUT, rpc.PutRequest(key=b"k020+", lease=7)),
        _payload(Kind.PUT, rpc.PutRequest(key=b"k030", value=b"let go")),
        _payload(Kind.PUT, rpc.PutRequest(key=b"z", lease=7)),
        _payload(Kind.LEASE_REVOKE, rpc.LeaseRevokeRequest(ID=7)),
    ]
    driver.machine.apply([driver.entry(payloads)])
    assert [kv.key for kv in driver.all()] == [b"k010+", b"k030"]


def test_a_txn_reads_what_lies_behind_its_own_long_deletion(long: Driver) -> None:
    response = long.txn(
        success=[
            delete_op(b"k050", b"k250"),
            range_op(b"k", b"l"),
            put_op(b"k100", b"back"),
            range_op(b"k", b"l", revision=0),
            delete_op(b"k000", b"k200"),
            range_op(b"k", b"l", count_only=True),
        ]
    )
    kept = [number for number in range(300) if not 50 <= number < 250]
    found = [one.response_range for one in response.responses if one.HasField("response_range")]
    assert [kv.key for kv in found[0].kvs] == [b"k%03d" % number for number in kept]
    kept = sorted([*kept, 100])
    assert [kv.key for kv in found[1].kvs] == [b"k%03d" % number for number in kept]
    assert found[2].count == 50 == len(long.all())
