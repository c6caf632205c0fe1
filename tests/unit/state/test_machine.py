"""Entries in order, positions with the data, checkpoints and their restoration."""

import shutil
from pathlib import Path

import pytest

from rusd.base.sliced import finish
from rusd.mvcc.size import EMPTY, row_size
from rusd.proto import rpc_pb2 as rpc
from rusd.raft.ports import CheckpointError, Entry, Position, Request
from rusd.state.command import Kind, encode
from rusd.state.errors import Undecodable
from rusd.state.machine import StateMachine
from rusd.storage import Family, StorageError
from tests.unit.state.driver import Driver, restore


def put(key: bytes) -> bytes:
    return encode(Kind.PUT, rpc.PutRequest(key=key).SerializeToString())


def entry(index: int, term: int, *keys: bytes) -> Entry:
    return Entry(Position(index, term), [Request(put(key), True) for key in keys])


def test_an_empty_state_stands_at_the_sentinel(driver: Driver) -> None:
    assert driver.machine.positions() == (Position(1, 0), Position(1, 0))


def test_positions_are_those_of_the_last_two_entries_also_after_a_restart(driver: Driver) -> None:
    driver.machine.apply([entry(2, 1), entry(3, 1, b"a"), entry(4, 2)])
    assert driver.machine.positions() == (Position(4, 2), Position(3, 1))
    driver.restart()
    assert driver.machine.positions() == (Position(4, 2), Position(3, 1))


def test_entries_that_were_applied_before_are_skipped(driver: Driver) -> None:
    entries = [entry(2, 1, b"a"), entry(3, 1, b"b")]
    driver.machine.apply(entries)
    driver.restart()
    again = driver.machine.apply([*entries, entry(4, 1, b"c")])
    assert again[:2] == [None, None]
    assert driver.machine.store.revision == 4
    assert set(driver.values()) == {b"a", b"b", b"c"}


def test_a_gap_in_the_log_is_fatal(driver: Driver) -> None:
    with pytest.raises(RuntimeError):
        driver.machine.apply([entry(3, 1, b"a")])


def test_a_term_that_goes_back_is_fatal(driver: Driver) -> None:
    driver.machine.apply([entry(2, 5)])
    with pytest.raises(RuntimeError):
        driver.machine.apply([entry(3, 4)])


def test_all_entries_of_one_apply_reach_the_disk_together_or_not_at_all(tmp_path: Path) -> None:
    machine = StateMachine(tmp_path)
    with pytest.raises(RuntimeError):
        machine.apply([entry(2, 1, b"a"), entry(4, 1, b"b")])
    machine.close()
    reopened = StateMachine(tmp_path)
    assert reopened.positions()[0] == Position(1, 0)
    assert reopened.store.revision == 1
    reopened.close()


def test_results_come_in_the_order_of_requests_over_all_entries(driver: Driver) -> None:
    results = driver.machine.apply([entry(2, 1, b"a", b"b"), entry(3, 1), entry(4, 1, b"c")])
    assert [one.revision for one in results] == [2, 3, 4]  # type: ignore[attr-defined]


def test_events_are_reported_once_an_apply_after_the_write(driver: Driver) -> None:
    told: list[list[int]] = []
    stored: list[int] = []

    def hear(batches: list[tuple[int, list[object]]]) -> None:
        told.append([revision for revision, _ in batches])
        stored.append(driver.machine.store.revision)

    driver.listen(events=hear)
    driver.machine.apply([entry(2, 1, b"a"), entry(3, 1, b"b", b"c")])
    driver.machine.apply([entry(4, 1)])
    assert told == [[2, 3, 4]]
    assert stored == [4]


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xee", bytes((Kind.PUT,)) + b"\xff", bytes((Kind.LEASE_EXPIRE,)) + b"short",
     bytes((Kind.CLUSTER_VERSION,)) + b"\xff", bytes((Kind.MEMBER_ATTRIBUTES,)) + b"\xff",
     bytes((Kind.MEMBER_ADD,)) + bytes(4) + b"\xff"],
)  # fmt: skip
def test_a_proposal_that_makes_no_sense_is_skipped_by_all(driver: Driver, payload: bytes) -> None:
    refused, done = driver.apply_payloads([payload, put(b"k")])
    assert isinstance(refused, Undecodable)
    assert done.revision == 2  # type: ignore[attr-defined]


def test_a_compaction_is_reported_with_its_revision(driver: Driver) -> None:
    told: list[int] = []
    driver.listen(compacted=told.append)
    driver.put(b"k")
    driver.put(b"k")
    assert driver.compact(2) == 3
    assert told == [2]


def test_two_members_store_the_same_with_and_without_a_waiter(tmp_path: Path) -> None:
    waited, other = Driver(tmp_path / "waited"), Driver(tmp_path / "other")
    requests = [
        encode(Kind.LEASE_GRANT, rpc.LeaseGrantRequest(ID=7, TTL=60).SerializeToString()),
        encode(Kind.PUT, rpc.PutRequest(key=b"k", value=b"1", lease=7).SerializeToString()),
        encode(Kind.PUT, rpc.PutRequest(key=b"k", value=b"2", prev_kv=True).SerializeToString()),
        encode(Kind.PUT, rpc.PutRequest(key=b"bad", lease=8).SerializeToString()),
        encode(
            Kind.DELETE_RANGE, rpc.DeleteRangeRequest(key=b"k", prev_kv=True).SerializeToString()
        ),
    ]
    waited.apply_payloads(requests, wanted=True)
    other.apply_payloads(requests, wanted=False)
    assert waited.events == other.events
    assert waited.machine.positions() == other.machine.positions()
    assert waited.all() == other.all()
    for driver in (waited, other):
        driver.machine.close()


def install(source: Driver, target: Driver, checkpoint: Path) -> None:
    """Restore one machine from another one's checkpoint."""
    source.machine.checkpoint(checkpoint)
    restore(target.machine, checkpoint)


def test_the_size_is_there_at_once_counts_leases_and_comes_with_a_snapshot(
    driver: Driver, tmp_path: Path
) -> None:
    source = Driver(tmp_path / "source")
    empty = source.machine.size
    assert 0 < source.machine.size_in_use <= empty
    source.grant(7)
    assert source.machine.size > empty
    for n in range(100):
        source.put(b"key%d" % (n % 3), bytes(n * 100), lease=7)
    size, in_use = source.machine.size, source.machine.size_in_use
    driver.put(b"ours")
    install(source, driver, tmp_path / "checkpoint")
    assert (driver.machine.size, driver.machine.size_in_use) == (size, in_use)
    driver.restart()
    assert (driver.machine.size, driver.machine.size_in_use) == (size, in_use)
    source.machine.close()


def test_the_size_in_use_is_right_after_every_kind_of_write(driver: Driver) -> None:
    def stored() -> int:
        rows = driver.machine.engine.scan(Family.KEY, b"", None)
        return EMPTY + sum(row_size(len(kv)) for _, kv in rows)

    def fill(lease: int = 0) -> None:
        for start in range(0, 3000, 100):
            puts = [
                rpc.RequestOp(
                    request_put=rpc.PutRequest(key=b"%05d" % n, value=bytes(n), lease=lease)
                )
                for n in range(start, start + 100)
            ]
            payload = rpc.TxnRequest(success=puts).SerializeToString()
            driver.apply_payloads([encode(Kind.TXN, payload)], wanted=False)

    def delete(key: bytes, end: bytes = b"") -> bytes:
        request = rpc.DeleteRangeRequest(key=key, range_end=end)
        return encode(Kind.DELETE_RANGE, request.SerializeToString())

    fill()
    driver.apply_payloads([delete(b"00007"), delete(b"00010", b"01500")], wanted=True)
    assert driver.machine.store.size.in_use == stored()
    driver.grant(7)
    fill(lease=7)
    revoke = rpc.LeaseRevokeRequest(ID=7).SerializeToString()
    driver.apply_payloads([encode(Kind.LEASE_REVOKE, revoke)], wanted=True)
    assert driver.machine.store.size.in_use == stored()
    fill()
    ranges = [rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=b"0", range_end=b"\0"))]
    payload = rpc.TxnRequest(success=ranges).SerializeToString()
    driver.apply_payloads([encode(Kind.TXN, payload)], wanted=False)
    assert driver.machine.store.size.in_use == stored()


def test_restore_replaces_everything_and_keeps_the_objects(driver: Driver, tmp_path: Path) -> None:
    source = Driver(tmp_path / "source")
    source.machine.bootstrap([], 99)
    source.grant(7)
    source.put(b"theirs", lease=7)
    source.alarm(1, 5, 2)
    driver.put(b"ours")
    driver.grant(8)
    store, leases = driver.machine.store, driver.machine.leases
    told: list[str] = []
    driver.listen(
        before_restore=lambda: told.append("restoring"), restored=lambda: told.append("restored")
    )
    install(source, driver, tmp_path / "checkpoint")
    assert told == ["restoring", "restored"]
    assert driver.machine.store is store
    assert driver.machine.leases is leases
    assert driver.values() == {b"theirs": b""}
    assert store.revision == 2
    assert [one.id for one in leases] == [7]
    assert leases.require(7).keys == {b"theirs": None}
    assert driver.machine.alarms.corrupt
    assert driver.machine.members.cluster_id == 99
    assert driver.machine.positions() == source.machine.positions()
    source.machine.close()


def test_a_restored_member_goes_on_and_survives_a_restart(driver: Driver, tmp_path: Path) -> None:
    source = Driver(tmp_path / "source")
    source.put(b"a")
    install(source, driver, tmp_path / "checkpoint")
    driver.put(b"b")
    driver.restart()
    assert set(driver.values()) == {b"a", b"b"}
    assert source.values() == {b"a": b""}
    source.machine.close()


@pytest.mark.parametrize("revision", [0, 1501])
def test_a_long_read_under_way_goes_on_over_a_restore(
    driver: Driver, tmp_path: Path, revision: int
) -> None:
    source = Driver(tmp_path / "source")
    damage: list[StorageError] = []
    driver.listen(damage=damage.append)
    for one in (driver, source):
        one.apply_payloads([put(b"%04d" % number) for number in range(1500)])
        one.put(b"later")
    source.put(b"theirs")
    request = rpc.RangeRequest(key=b"0", range_end=b"9", revision=revision)
    reading = driver.machine.store.range_slices(request)
    next(reading)
    install(source, driver, tmp_path / "checkpoint")
    assert finish(reading).count == 1500
    assert damage == []
    source.machine.close()


def test_a_checkpoint_that_cannot_be_opened_leaves_the_state_as_it_was(
    driver: Driver, tmp_path: Path
) -> None:
    driver.put(b"mine")
    checkpoint = tmp_path / "checkpoint"
    assert driver.machine.checkpoint(checkpoint)
    (checkpoint / "CURRENT").write_bytes(b"MANIFEST-999999\n")
    with pytest.raises(CheckpointError):
        driver.machine.prepare(checkpoint)
    assert driver.put(b"mine too") is not None


def test_what_a_replaced_database_says_is_no_damage_of_the_state(
    driver: Driver, tmp_path: Path
) -> None:
    source = Driver(tmp_path / "source")
    damage: list[StorageError] = []
    driver.listen(damage=damage.append)
    replaced = driver.machine.engine
    install(source, driver, tmp_path / "checkpoint")
    with pytest.raises(StorageError):
        replaced.get(Family.META, b"name")
    assert damage == []
    source.machine.close()


def test_a_checkpoint_of_a_database_that_is_replaced_meanwhile_is_tried_again(
    driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Driver(tmp_path / "source")
    replaced = driver.machine.engine
    write = replaced.checkpoint

    def checkpoint(directory: Path) -> None:
        install(source, driver, tmp_path / "received")
        write(directory)

    monkeypatch.setattr(replaced, "checkpoint", checkpoint)
    assert not driver.machine.checkpoint(tmp_path / "checkpoint")
    shutil.rmtree(tmp_path / "checkpoint", ignore_errors=True)
    assert driver.machine.checkpoint(tmp_path / "checkpoint")
    source.machine.close()
