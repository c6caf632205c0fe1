"""The file of any store holds what the state machine holds, at every revision that is kept."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rusd.backup import export, restore_history
from rusd.backup.errors import SnapshotError
from rusd.backup.restore import bump_revision, restore
from rusd.base.sliced import finish
from rusd.bbolt import Database
from rusd.mvcc.hash import HashResult, hash_kv
from rusd.mvcc.revision import revision_key
from rusd.proto import auth_pb2, kv_pb2, lease_pb2
from rusd.proto import rpc_pb2 as rpc
from rusd.state.machine import StateMachine
from rusd.storage import Batch, Family
from tests.support.pair import etcdutl, newer_oracle
from tests.support.snapshots import content, etcdutl_hashes
from tests.unit.backup.any_store import EVERYTHING, HISTORIES, Change, apply
from tests.unit.state.driver import Driver

Rows = dict[bytes, bytes]
#: Of each property: more in `make test-recovery`.
EXAMPLES = int(os.environ.get("RUSD_RECOVERY_EXAMPLES", "25"))


def file_of(driver: Driver) -> bytes:
    with TemporaryFile() as file:
        size = export.write(driver.machine.engine, file)
        made = file.read()
    assert size == len(made)
    return made


def state_at(revision: int, rows: Rows) -> dict[bytes, kv_pb2.KeyValue]:
    """The keys of a revision by the bucket `key`: the newest row of each that is no tombstone."""
    found: dict[bytes, kv_pb2.KeyValue] = {}
    for place, row in rows.items():
        if int.from_bytes(place[:8]) > revision:
            break
        one = kv_pb2.KeyValue.FromString(row)
        if place[17:] == b"t":
            found.pop(one.key, None)
        else:
            found[one.key] = one
    return dict(sorted(found.items()))


def test_the_history_of_all_changes_has_no_change_that_is_refused(tmp_path: Path) -> None:
    driver = Driver(tmp_path / "state")
    for change in EVERYTHING:
        change(driver)
    machine = driver.machine
    assert (len(machine.members), len(machine.leases), len(list(machine.alarms))) == (3, 2, 1)
    assert machine.auth.enabled
    assert machine.store.finished_compact_revision < machine.store.compact_revision
    machine.close()


@settings(deadline=None, max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
@example(EVERYTHING)
@given(HISTORIES)
def test_the_file_holds_what_the_state_machine_holds(history: Sequence[Change]) -> None:
    with TemporaryDirectory() as directory:
        driver = Driver(Path(directory) / "state")
        try:
            apply(driver, history)
            compare(driver, content(file_of(driver)))
        finally:
            driver.machine.close()


def compare(driver: Driver, found: dict[bytes, Rows]) -> None:
    machine = driver.machine
    store = machine.store
    for revision in range(max(store.compact_revision, 1), store.revision + 1):
        asked = rpc.RangeRequest(key=b"\0", range_end=b"\0", revision=revision)
        there = [kv_pb2.KeyValue.FromString(one) for one in store.range(asked).kvs]
        assert list(state_at(revision, found[b"key"]).values()) == there
    leases = [lease_pb2.Lease.FromString(one) for one in found[b"lease"].values()]
    assert sorted((one.ID, one.TTL, one.RemainingTTL) for one in leases) == sorted(
        (one.id, one.ttl, one.remaining_ttl) for one in machine.leases
    )
    for key, lease in zip(found[b"lease"], leases, strict=True):
        assert int.from_bytes(key, signed=True) == lease.ID
    alarms = map(rpc.AlarmMember.FromString, found[b"alarm"])
    assert sorted((one.memberID, one.alarm) for one in alarms) == sorted(machine.alarms)
    users = map(auth_pb2.User.FromString, found[b"authUsers"].values())
    assert {one.name.decode(): set(one.roles) for one in users} == {
        name: set(machine.auth.user(name).roles) for name in machine.auth.users()
    }
    assert [name.decode() for name in found[b"authRoles"]] == machine.auth.roles()
    assert found[b"auth"].get(b"authEnabled", b"\0") == bytes([machine.auth.enabled])
    members = map(json.loads, found[b"members"].values())
    assert {one["id"]: one.get("isLearner", False) for one in members} == {
        one.id: one.is_learner for one in machine.members
    }
    assert {int(key, 16) for key in found[b"members_removed"]} == set(machine.members.removed)
    applied, _ = machine.positions()
    assert int.from_bytes(found[b"meta"][b"consistent_index"]) == applied.index
    assert int.from_bytes(found[b"meta"][b"term"]) == applied.term


OF_THE_CLUSTER = {b"cluster", b"members", b"members_removed", b"meta"}


def restored(file: bytes, directory: Path, bump: int = 0, until: int = 0) -> Driver:
    """A machine with what the file holds."""
    machine = StateMachine(directory)
    restore(Database(file), machine.engine, until=until)
    machine.close()
    driver = Driver(directory)
    if not bump:
        return driver
    batch = Batch()
    bump_revision(batch, driver.machine.store, bump)
    driver.machine.engine.write(batch)
    driver.machine.close()
    return Driver(directory)


def hashes(driver: Driver) -> list[HashResult]:
    """HashKV at every revision that is kept."""
    store = driver.machine.store
    kept = range(max(store.compact_revision, 1), store.revision + 1)
    return [finish(store.hash_readable(revision)) for revision in kept]


@settings(deadline=None, max_examples=EXAMPLES // 3, suppress_health_check=[HealthCheck.too_slow])
@example(EVERYTHING)
@given(HISTORIES)
def test_a_restored_store_has_the_hashes_and_the_file_of_the_first(
    history: Sequence[Change],
) -> None:
    with TemporaryDirectory() as directory:
        first = Driver(Path(directory) / "first")
        apply(first, history)
        file = file_of(first)
        second = restored(file, Path(directory) / "second")
        try:
            assert hashes(second) == hashes(first)
            before, after = content(file), content(file_of(second))
            for name in before.keys() - OF_THE_CLUSTER:
                if name != b"lease":
                    assert after[name] == before[name], name
            # (A lease is given a least time, and room for its seconds in an int64.)
            assert after[b"lease"].keys() == before[b"lease"].keys()
            for name in (b"finishedCompactRev", b"scheduledCompactRev"):
                assert after[b"meta"].get(name) == before[b"meta"].get(name)
            for lease in first.machine.leases:
                keys = [*first.machine.leases.stored(first.machine.engine, lease, 1000)]
                assert [*second.machine.leases.stored(second.machine.engine, lease, 1000)] == keys
        finally:
            first.machine.close()
            second.machine.close()


@settings(deadline=None, max_examples=EXAMPLES // 3, suppress_health_check=[HealthCheck.too_slow])
@example(EVERYTHING, 0.5)
@given(HISTORIES, st.floats(0, 1))
def test_a_store_restored_to_a_revision_is_what_the_first_was_then(
    history: Sequence[Change], share: float
) -> None:
    with TemporaryDirectory() as directory:
        first = Driver(Path(directory) / "first")
        apply(first, history)
        store = first.machine.store
        oldest = max(store.compact_revision, 1)
        until = oldest + round(share * (store.revision - oldest))
        file = file_of(first)
        second = restored(file, Path(directory) / "second", until=until)
        try:
            assert second.machine.store.revision == until
            assert hashes(second) == hashes(first)[: until - oldest + 1]
            then = state_at(until, content(file)[b"key"])
            assert second.all() == [then[key] for key in sorted(then)]
        finally:
            first.machine.close()
            second.machine.close()


@settings(deadline=None, max_examples=EXAMPLES // 3, suppress_health_check=[HealthCheck.too_slow])
@example(EVERYTHING, EVERYTHING, 1)
@given(HISTORIES, HISTORIES, st.integers(1, 4))
def test_a_store_restored_in_several_parts_goes_on_as_the_first(
    history: Sequence[Change], later: Sequence[Change], part: int
) -> None:
    """Each part is a table: what a later one says of a key, or a write to come, must win."""
    with TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(restore_history, "PART_ROWS", part)
        first = Driver(Path(directory) / "first")
        apply(first, history)
        second = restored(file_of(first), Path(directory) / "second")
        try:
            assert rows(second) == rows(first)
            for driver in (first, second):
                apply(driver, later)
            second.machine.engine.compact()
            assert rows(second) == rows(first)
            second.machine.close()
            second = Driver(Path(directory) / "second")
            assert rows(second) == rows(first)
        finally:
            first.machine.close()
            second.machine.close()


def rows(driver: Driver) -> list[list[tuple[bytes, bytes]]]:
    """Everything that is stored of keys."""
    families = (Family.KEY, Family.INDEX, Family.CURRENT)
    return [list(driver.machine.engine.scan(family, b"", None)) for family in families]


def test_a_revision_that_a_file_does_not_hold_is_refused(tmp_path: Path) -> None:
    driver = Driver(tmp_path / "first")
    for number in range(6):
        driver.put(b"k", b"%d" % number)
    driver.compact(4)
    file = file_of(driver)
    driver.machine.close()
    with pytest.raises(SnapshotError, match="compacted: the file begins at 4"):
        restored(file, tmp_path / "3", until=3)
    for until in (4, 7):
        driver = restored(file, tmp_path / str(until), until=until)
        assert driver.values() == {b"k": b"%d" % (until - 2)}
        driver.put(b"next")
        assert driver.machine.store.revision == until + 1
        driver.machine.close()


def test_a_restored_revision_is_bumped_above_an_earlier_bump(tmp_path: Path) -> None:
    driver = Driver(tmp_path / "0")
    driver.put(b"a", b"1")
    newest = driver.machine.store.revision
    for turn in (1, 2, 3):
        file = file_of(driver)
        driver.machine.close()
        driver = restored(file, tmp_path / str(turn), bump=1000)
        newest += 1000
        assert driver.machine.store.revision == newest
        # etcdutl begins at the last row.
        assert list(content(file_of(driver))[b"key"])[-1] == revision_key(newest)
        if turn == 2:
            driver.put(b"a", b"2")
            newest += 1
    store = driver.machine.store
    asked = rpc.RangeRequest(key=b"\0", range_end=b"\0")
    assert [kv_pb2.KeyValue.FromString(one).value for one in store.range(asked).kvs] == [b"2"]
    driver.put(b"b", b"3")
    assert [revision for revision, _ in store.history(newest, limit_revisions=9)] == [newest + 1]
    # The marks of the earlier bumps go, as in etcd.
    list(store.compact_slices())
    kept = [key for key, row in content(file_of(driver))[b"key"].items() if not row]
    assert kept == [revision_key(newest)]
    driver.machine.close()


@newer_oracle
def test_etcd_reads_the_hash_of_a_bumped_store_and_bumps_above(tmp_path: Path) -> None:
    first = Driver(tmp_path / "first")
    for number in range(3):
        first.put(b"k%d" % (number % 2), b"x")
    driver = restored(file_of(first), tmp_path / "bumped", bump=100)
    first.machine.close()
    for compacted in (False, True):
        if compacted:
            list(driver.machine.store.compact_slices())
        ours = hashes(driver)[-1]
        newest = driver.machine.store.revision
        content = file_of(driver)
        file = tmp_path / "db"
        file.write_bytes(content)
        assert etcdutl_hashes(file, [newest]) == [ours.hash]
        there = tmp_path / f"etcd-{compacted}"
        command = [*etcdutl(), "snapshot", "restore", str(file), "--data-dir", str(there)]
        flags = ["--skip-hash-check", "--bump-revision=7", "--mark-compacted"]
        done = subprocess.run([*command, *flags], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        bumped = (there / "member" / "snap" / "db").read_bytes()
        back = restored(bumped, tmp_path / f"back-{compacted}")
        assert back.machine.store.revision == newest + 7
        found = etcdutl_hashes(there / "member" / "snap" / "db", [newest + 7])
        assert found == [hashes(back)[-1].hash]
        back.machine.close()
    driver.machine.close()


@newer_oracle
@settings(deadline=None, max_examples=EXAMPLES // 3, suppress_health_check=[HealthCheck.too_slow])
@example(EVERYTHING)
@given(HISTORIES)
def test_etcd_reads_the_same_hash_at_every_revision_kept(history: Sequence[Change]) -> None:
    with TemporaryDirectory() as directory:
        driver = Driver(Path(directory) / "state")
        try:
            apply(driver, history)
            store, engine = driver.machine.store, driver.machine.engine
            file = Path(directory) / "db"
            file.write_bytes(file_of(driver))
            kept = range(max(store.compact_revision, 1), store.revision + 1)
            ours = [finish(hash_kv(engine, revision, store.compact_revision)) for revision in kept]
            assert etcdutl_hashes(file, kept) == [one.hash for one in ours]
        finally:
            driver.machine.close()
