"""`Maintenance.Snapshot`: etcd's own tools and etcd itself take what a member sends."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import psutil
import pytest

from cluster.local import LocalCluster
from rusd.proto import rpc_pb2 as rpc
from tests.support.client import Client, refusal
from tests.support.pair import ORACLE, command, etcdutl, fit_for_oracle, oracle_version
from tests.support.snapshots import (
    Buckets,
    buckets,
    fill,
    hash_kv,
    run,
    save,
    served_by_etcd,
    stream,
)
from tests.support.waiting import wait

#: What only one of two servers can know.
OWN = {b"members", b"members_removed", b"meta", b"cluster"}


def until(condition: Callable[[], bool]) -> None:
    wait(lambda: condition() or None, "it did not come to that", 60.0)


@pytest.fixture(scope="module")
def member() -> Iterator[LocalCluster]:
    with LocalCluster(1) as cluster:
        with Client(cluster.endpoints[0]) as client:
            fill(client)
            fit_for_oracle(client)
        yield cluster


@pytest.fixture
def client(member: LocalCluster) -> Iterator[Client]:
    with Client(member.endpoints[0]) as one:
        yield one


def test_etcdctl_saves_it_and_etcdutl_knows_what_it_holds(
    member: LocalCluster, client: Client, tmp_path: Path
) -> None:
    file = tmp_path / "snapshot.db"
    run(command("etcdctl"), "--endpoints", member.endpoints[0], "snapshot", "save", file)
    status = json.loads(run(*etcdutl(), "snapshot", "status", file, "-w", "json"))
    assert status["revision"] == client.range(b"x").header.revision
    assert status["totalKey"] > 0
    assert status["totalSize"] == file.stat().st_size - 32


def test_real_etcd_restores_it_and_serves_the_same(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "snapshot.db"
    file.write_bytes(save(client))
    everything = client.range(b"\0", range_end=b"\0")
    hashes = [hash_kv(client, revision) for revision in (0, 14, 20, 31)]
    with served_by_etcd(file) as real:
        assert real.range(b"\0", range_end=b"\0").kvs == everything.kvs
        assert [hash_kv(real, revision) for revision in (0, 14, 20, 31)] == hashes
        leases = real.call(
            "/etcdserverpb.Lease/LeaseLeases",
            rpc.LeaseLeasesRequest(),
            rpc.LeaseLeasesResponse,
        )
        assert sorted(one.ID for one in leases.leases) == [600, 700]
        users = real.call(
            "/etcdserverpb.Auth/UserGet",
            rpc.AuthUserGetRequest(name="u"),
            rpc.AuthUserGetResponse,
        )
        assert list(users.roles) == ["reader"]


def test_the_records_are_those_of_an_etcd_that_was_given_the_same_calls(client: Client) -> None:
    ours = buckets(save(client))
    with LocalCluster(1, binary=[command(ORACLE)]) as etcd, Client(etcd.endpoints[0]) as real:
        fill(real)
        # Removal of what was compacted runs in the background.
        until(lambda: len(buckets(save(real))[b"key"]) == len(ours[b"key"]))
        theirs = buckets(save(real))
    assert ours.keys() == theirs.keys()
    for name in ours.keys() - OWN:
        assert ours[name] == theirs[name], name
    for key in (b"scheduledCompactRev", b"finishedCompactRev"):
        assert ours[b"meta"][key] == theirs[b"meta"][key]
    assert ours[b"meta"].keys() - {b"storageVersion"} == theirs[b"meta"].keys() - {
        b"storageVersion"
    }
    assert json.loads(ours[b"meta"][b"confState"]).keys() == {"voters", "auto_leave"}
    if oracle_version() >= (3, 6):
        assert ours[b"meta"][b"storageVersion"] == theirs[b"meta"][b"storageVersion"]
    if oracle_version() >= (3, 7):
        assert ours[b"cluster"] == theirs[b"cluster"]
        assert member_of(ours).keys() == member_of(theirs).keys()


def member_of(file: Buckets) -> dict[str, object]:
    ((key, value),) = file[b"members"].items()
    found: dict[str, object] = json.loads(value)
    assert found["id"] == int(key, 16)
    return found


def test_it_is_the_state_of_one_moment(client: Client) -> None:
    """Each txn writes the same to two keys: no file has one without the other."""
    done = threading.Event()

    def write() -> None:
        number = 0
        with Client(client.endpoint) as writer:
            while not done.is_set():
                number += 1
                txn = rpc.TxnRequest()
                for key in (b"pair/a", b"pair/z"):
                    put = txn.success.add().request_put
                    put.key, put.value = key, b"%d" % number
                writer.call("/etcdserverpb.KV/Txn", txn, rpc.TxnResponse)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        files = [save(client) for _ in range(3)]
    finally:
        done.set()
        writer.join()
    for file in files:
        revisions = [key[:8] for key in buckets(file)[b"key"]]
        mine = [
            (key[:8], key[9:17], value)
            for key, value in buckets(file)[b"key"].items()
            if b"pair/" in value
        ]
        assert len(mine) % 2 == 0
        assert {main for main, *_ in mine} == {main for main, sub, _ in mine if int.from_bytes(sub)}
        assert revisions == sorted(revisions)


def test_a_client_that_goes_away_leaves_no_process_and_no_file(
    member: LocalCluster, client: Client
) -> None:
    exports = member.members[0].data_dir / "member" / "exports"
    process = psutil.Process(member.members[0].pid)
    # More than the connection's window: the file stays until it is read. (The process that writes
    # a small one may be gone before anybody looks.)
    for number in range(40):
        client.put(b"large/%d" % number, os.urandom(64 << 10))
    answers = stream(client)
    until(lambda: bool(process.children() or list(exports.iterdir())))
    answers.cancel()  # type: ignore[attr-defined]
    until(lambda: not process.children() and not list(exports.iterdir()))
    assert len(save(client)) % 512 == 32


def test_a_member_that_was_killed_meanwhile_starts_and_saves_again(
    member: LocalCluster, client: Client
) -> None:
    process = psutil.Process(member.members[0].pid)
    answers = stream(client)
    until(lambda: bool(process.children()))
    (writer,) = process.children()
    member.kill(0)
    with pytest.raises(grpc.RpcError) as error:
        list(answers)
    assert refusal(error.value).code in ("UNAVAILABLE", "CANCELLED")
    until(lambda: not writer.is_running() or writer.status() == psutil.STATUS_ZOMBIE)
    member.restart(0)
    member.wait_healthy()
    exports = member.members[0].data_dir / "member" / "exports"
    assert not exports.exists() or os.listdir(exports) == []
    assert buckets(save(client))[b"key"]
