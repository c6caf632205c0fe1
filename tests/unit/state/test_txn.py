"""Txn: branches, checks before changes, and what the answer shows."""

from typing import Any

import pytest

from rusd.base.errors import Refusal
from rusd.mvcc.errors import Compacted, FutureRevision
from rusd.proto import rpc_pb2 as rpc
from rusd.state import txn
from rusd.state.command import Kind, encode
from rusd.state.errors import KeyNotFound, LeaseNotFound
from tests.unit.state.driver import (
    Driver,
    delete_op,
    put_op,
    range_op,
    txn_op,
    version_is,
)


def test_no_condition_means_success(driver: Driver) -> None:
    assert driver.txn(success=[put_op(b"k", b"v")]).succeeded
    assert driver.values() == {b"k": b"v"}


def test_a_condition_that_fails_takes_the_other_branch(driver: Driver) -> None:
    response = driver.txn(
        [version_is(b"k", 1)], [put_op(b"k", b"then")], [put_op(b"k", b"else"), put_op(b"l")]
    )
    assert not response.succeeded
    assert [one.WhichOneof("response") for one in response.responses] == ["response_put"] * 2
    assert driver.values() == {b"k": b"else", b"l": b""}


def test_all_changes_of_a_txn_share_one_revision(driver: Driver) -> None:
    driver.txn(success=[put_op(b"a"), put_op(b"b"), put_op(b"c")])
    assert driver.machine.store.revision == 2
    ((revision, events),) = driver.events
    assert revision == 2
    assert [(event.key, event.mod_revision, event.sub) for event in events] == [
        (b"a", 2, 0),
        (b"b", 2, 1),
        (b"c", 2, 2),
    ]


def test_a_txn_that_changes_nothing_keeps_the_revision(driver: Driver) -> None:
    driver.put(b"a")
    request = rpc.TxnRequest(success=[delete_op(b"x")])
    revision, response = driver.call(Kind.TXN, request, rpc.TxnResponse)
    assert revision == 2
    assert response.responses[0].response_delete_range.header.revision == 2


def test_a_range_sees_the_txns_own_earlier_writes(driver: Driver) -> None:
    driver.put(b"k", b"old")
    response = driver.txn(success=[range_op(b"k"), put_op(b"k", b"new"), range_op(b"k")])
    before, put, behind = response.responses
    assert (before.response_range.header.revision, before.response_range.kvs[0].value) == (
        2,
        b"old",
    )
    assert put.response_put.header.revision == 3
    assert (behind.response_range.header.revision, behind.response_range.kvs[0].value) == (
        3,
        b"new",
    )
    assert behind.response_range.count == 1


def test_a_range_at_an_older_revision_does_not_see_them(driver: Driver) -> None:
    driver.put(b"k", b"old")
    response = driver.txn(success=[put_op(b"k", b"new"), range_op(b"k", revision=2)])
    assert response.responses[1].response_range.kvs[0].value == b"old"


def test_headers_inside_a_txn_carry_the_revision_only(driver: Driver) -> None:
    header = driver.txn(success=[put_op(b"k")]).responses[0].response_put.header
    assert header == rpc.ResponseHeader(revision=2)


def test_the_header_of_a_nested_txn_is_there_but_empty(driver: Driver) -> None:
    nested = driver.txn(success=[txn_op(success=[put_op(b"k")])]).responses[0].response_txn
    assert nested.HasField("header")
    assert nested.header == rpc.ResponseHeader()
    assert nested.succeeded
    assert nested.responses[0].response_put.header.revision == 2


def test_conditions_of_nested_txns_see_the_state_before_the_whole_txn(driver: Driver) -> None:
    nested = txn_op([version_is(b"k", 0)], [put_op(b"new")], [put_op(b"seen")])
    driver.txn(success=[put_op(b"k"), nested])
    assert driver.values() == {b"k": b"", b"new": b""}


def test_several_nested_txns_each_take_their_own_branch(driver: Driver) -> None:
    driver.put(b"k")
    yes, no = version_is(b"k", 1), version_is(b"k", 2)
    deep = txn_op([no], [], [put_op(b"deep-else")])
    response = driver.txn(
        success=[
            txn_op([no], [put_op(b"1-then")], [put_op(b"1-else"), deep]),
            txn_op([yes], [put_op(b"2-then")], [put_op(b"2-else")]),
        ]
    )
    assert [one.response_txn.succeeded for one in response.responses] == [False, True]
    assert set(driver.values()) == {b"k", b"1-else", b"deep-else", b"2-then"}


@pytest.mark.parametrize(
    ("operation", "error"),
    [
        (put_op(b"z", lease=7), LeaseNotFound),
        (put_op(b"z", ignore_value=True), KeyNotFound),
        (put_op(b"z", ignore_lease=True), KeyNotFound),
        (put_op(b"z", lease=7, ignore_value=True), KeyNotFound),
        (range_op(b"z", revision=99), FutureRevision),
        (range_op(b"z", revision=2), Compacted),
        (range_op(b"z", revision=-1), Compacted),
        (txn_op(success=[put_op(b"z", lease=7)]), LeaseNotFound),
    ],
)
def test_an_operation_that_must_fail_undoes_the_whole_txn(
    driver: Driver, operation: rpc.RequestOp, error: type[Refusal]
) -> None:
    driver.put(b"a", b"1")
    driver.put(b"a", b"2")
    driver.compact(3)
    driver.events.clear()
    with pytest.raises(Refusal) as refused:
        driver.txn(success=[put_op(b"b"), delete_op(b"a"), operation])
    assert type(refused.value) is error
    assert driver.values() == {b"a": b"2"}
    assert driver.machine.store.revision == 3
    assert driver.events == []


def test_the_branch_not_taken_is_not_checked(driver: Driver) -> None:
    assert driver.txn(success=[put_op(b"k")], failure=[put_op(b"z", lease=7)]).succeeded


def test_the_revision_a_txn_is_about_to_make_is_still_in_the_future(driver: Driver) -> None:
    with pytest.raises(Refusal) as refused:
        driver.txn(success=[put_op(b"k"), range_op(b"k", revision=2)])
    assert isinstance(refused.value, FutureRevision)


def test_a_key_deleted_from_key_on_and_put_again_begins_anew(driver: Driver) -> None:
    # The check for overlaps does not see this one, in etcd either.
    driver.put(b"k", b"old")
    driver.txn(success=[delete_op(b"a", b"\0"), put_op(b"k", b"new")])
    (kv,) = driver.all()
    assert (kv.value, kv.create_revision, kv.version) == (b"new", 3, 1)


def test_ignore_value_after_such_a_deletion_finds_no_value_and_ends_no_member(
    driver: Driver,
) -> None:
    driver.put(b"k", b"old")
    driver.txn(success=[delete_op(b"a", b"\0"), put_op(b"k", ignore_value=True)])
    assert driver.values() == {b"k": b""}


def test_prev_kvs_of_deletes_inside_a_txn(driver: Driver) -> None:
    driver.put(b"a", b"1")
    driver.put(b"b", b"2")
    response = driver.txn(success=[delete_op(b"a", b"c", prev_kv=True)])
    deleted = response.responses[0].response_delete_range
    assert [(kv.key, kv.value) for kv in deleted.prev_kvs] == [(b"a", b"1"), (b"b", b"2")]
    assert (deleted.deleted, deleted.header.revision) == (2, 4)


def test_requests_of_one_entry_see_each_other_in_order(driver: Driver) -> None:
    create = rpc.TxnRequest(
        compare=[version_is(b"lock", 0)], success=[put_op(b"lock")], failure=[range_op(b"lock")]
    )
    payload = encode(Kind.TXN, create.SerializeToString())
    first, second = driver.apply_payloads([payload, payload])
    assert rpc.TxnResponse.FromString(first.body).succeeded  # type: ignore[attr-defined]
    lost = rpc.TxnResponse.FromString(second.body)  # type: ignore[attr-defined]
    assert not lost.succeeded
    assert lost.responses[0].response_range.kvs[0].create_revision == 2


def test_a_txn_of_ranges_only_is_read_only() -> None:
    reads = rpc.TxnRequest(success=[range_op(b"a")], failure=[range_op(b"b")])
    assert txn.is_read_only(reads)
    assert txn.is_read_only(rpc.TxnRequest())
    assert not txn.is_read_only(rpc.TxnRequest(success=[txn_op()]))
    assert not txn.is_read_only(rpc.TxnRequest(failure=[put_op(b"a")]))


def test_a_read_only_txn_is_serializable_if_every_range_is() -> None:
    local = range_op(b"a", serializable=True)
    assert txn.is_serializable(rpc.TxnRequest(success=[local], failure=[local]))
    assert txn.is_serializable(rpc.TxnRequest())
    assert not txn.is_serializable(rpc.TxnRequest(success=[local, range_op(b"b")]))


def test_reading_on_the_committed_store_answers_like_a_written_txn(driver: Driver) -> None:
    driver.put(b"k", b"v")
    request = rpc.TxnRequest(compare=[version_is(b"k", 1)], success=[range_op(b"k")])
    local = txn.read(driver.machine.store, driver.machine.leases, request)
    replicated = driver.apply(Kind.TXN, request.SerializeToString())
    assert local == replicated
    assert rpc.TxnResponse.FromString(local.body).responses[0].response_range.count == 1


def test_reading_in_the_future_is_refused(driver: Driver) -> None:
    request = rpc.TxnRequest(success=[range_op(b"k", revision=2)])
    with pytest.raises(Refusal) as refused:
        txn.read(driver.machine.store, driver.machine.leases, request)
    assert isinstance(refused.value, FutureRevision)


def test_a_txn_goes_on_in_slices_behind_a_large_answer(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = txn.SLICE_BYTES
    driver.put(b"k", b"o" * size)
    driver.put(b"l", b"gone")
    rests = []
    write_rest = txn._write_rest

    def counted(*arguments: Any) -> Any:
        rests.append(len(arguments[2].operations))
        return write_rest(*arguments)

    monkeypatch.setattr(txn, "_write_rest", counted)
    response = driver.txn(
        success=[
            range_op(b"k"),
            put_op(b"k", b"new", prev_kv=True),
            delete_op(b"l", prev_kv=True),
            range_op(b"k"),
        ]
    )
    assert rests == [3]
    found, put, deleted, changed = response.responses
    assert found.response_range.kvs[0].value == put.response_put.prev_kv.value == b"o" * size
    assert [kv.value for kv in deleted.response_delete_range.prev_kvs] == [b"gone"]
    assert changed.response_range.kvs[0].value == b"new"
