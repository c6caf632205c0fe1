"""The file of any store holds what the state machine holds, at every revision that is kept."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, example, given, settings

from rusd.backup import export
from rusd.base.sliced import finish
from rusd.bbolt import Database, check
from rusd.mvcc.hash import hash_kv
from rusd.proto import auth_pb2, kv_pb2, lease_pb2
from rusd.proto import rpc_pb2 as rpc
from tests.support.pair import etcdutl, newer_oracle
from tests.unit.backup.any_store import EVERYTHING, HISTORIES, Change, apply
from tests.unit.state.driver import Driver

Rows = dict[bytes, bytes]


def file_of(driver: Driver) -> bytes:
    file = io.BytesIO()
    size = export.write(driver.machine.engine, file)
    assert size == len(file.getvalue())
    return file.getvalue()


def buckets(file: bytes) -> dict[bytes, Rows]:
    database = Database(file)
    check(database)
    return {
        name: {item.key: item.value for item in bucket.items()}
        for name, bucket in database.buckets()
    }


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


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@example(EVERYTHING)
@given(HISTORIES)
def test_the_file_holds_what_the_state_machine_holds(history: Sequence[Change]) -> None:
    with TemporaryDirectory() as directory:
        driver = Driver(Path(directory) / "state")
        try:
            apply(driver, history)
            compare(driver, buckets(file_of(driver)))
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


@newer_oracle
@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@example(EVERYTHING)
@given(HISTORIES)
def test_etcd_reads_the_same_hash_at_every_revision_kept(history: Sequence[Change]) -> None:
    with TemporaryDirectory() as directory:
        driver = Driver(Path(directory) / "state")
        try:
            apply(driver, history)
            store = driver.machine.store
            file = Path(directory) / "db"
            file.write_bytes(file_of(driver))
            kept = range(max(store.compact_revision, 1), store.revision + 1)
            for revision in [*kept[:2], *kept[-2:]]:
                command = [*etcdutl(), "hashkv", str(file), "--rev", str(revision), "-w", "json"]
                done = subprocess.run(command, capture_output=True, text=True, timeout=60)
                assert done.returncode == 0, done.stderr
                ours = finish(hash_kv(driver.machine.engine, revision, store.compact_revision))
                assert json.loads(done.stdout)["hash"] == ours.hash
        finally:
            driver.machine.close()
