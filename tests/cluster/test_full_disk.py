"""A member whose disk is full: writes end with an error, nothing is lost, and it comes back."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import grpc
import pytest

from cluster.local import LocalCluster
from rusd.maintenance.disk_space import RESERVE
from tests.cluster.test_catch_up import FLAGS, installed
from tests.cluster.test_membership import lead, serves, wait_until
from tests.support.client import Client, Refused, refusal
from tests.support.disk import SmallDisk
from tests.support.load import Writers, revision_of, wait_applied
from tests.support.snapshots import save

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")

NO_SPACE = Refused("RESOURCE_EXHAUSTED", "etcdserver: mvcc: database space exceeded")


def test_a_nearly_full_disk_refuses_growth_until_there_is_room_again(tmp_path: Path) -> None:
    with SmallDisk(tmp_path / "disk", 200) as disk:
        flags = {0: [f"--data-dir={disk.path / 'data'}"]}
        with (
            LocalCluster(1, member_flags=flags) as cluster,
            Client(cluster.endpoints[0]) as client,
        ):
            client.put(b"k", b"v")
            disk.fill(leaving=RESERVE // 2)
            wait_until(lambda: refused(client))
            assert client.range(b"k").kvs[0].value == b"v"
            assert client.delete(b"k").deleted == 1
            disk.empty()
            wait_until(lambda: not refused(client))
            assert client.range(b"another").kvs[0].value == b"w"


def test_a_leader_short_of_disk_space_hands_leadership_over(tmp_path: Path) -> None:
    with SmallDisk(tmp_path / "disk", 300) as disk:
        flags = {0: [f"--data-dir={disk.path / 'data'}"]}
        with LocalCluster(3, member_flags=flags) as cluster:
            lead(cluster, 0)
            with Client(cluster.endpoints[0]) as client:
                term = client.status().raftTerm
                disk.fill(leaving=RESERVE // 2)
                wait_until(lambda: cluster.wait_leader() != 0)
                assert refused(client)
                assert client.status().raftTerm == term + 1
                disk.empty()
                wait_until(lambda: not refused(client))


def refused(client: Client) -> bool:
    try:
        client.put(b"another", b"w")
    except Refused as error:
        assert error == NO_SPACE
        return True
    return False


@pytest.mark.parametrize("size", [1, 3])
def test_a_member_whose_disk_fills_up_begins_anew_when_there_is_room(
    tmp_path: Path, size: int
) -> None:
    with SmallDisk(tmp_path / "disk", 200) as disk:
        flags = {0: [f"--data-dir={disk.path / 'data'}"]}
        with LocalCluster(size, member_flags=flags) as cluster:
            member = cluster.members[0]
            pid = member.pid
            with Writers(cluster.endpoints) as writers:
                writers.wait_for(100)
                disk.fill()
                # The store's files grow at once, the journal's when its reserved space is used.
                with Client(cluster.endpoints[-1]) as client:
                    wait_until(lambda: grown(client) and "No space left" in member.log_tail(1000))
                if size > 1:
                    writers.wait_for(100)
                disk.empty()
                wait_until(lambda: serves(member.endpoint))
                writers.wait_for(100)
            assert member.pid == pid and member.running
            cluster.wait_healthy()
            writers.check(cluster.endpoints, revision_of(cluster.endpoints[0]))


def test_a_snapshot_that_does_not_fit_on_the_disk_is_installed_when_there_is_room(
    tmp_path: Path,
) -> None:
    with SmallDisk(tmp_path / "disk", 300) as disk:
        member_flags = {0: [f"--data-dir={disk.path / 'data'}"]}
        with LocalCluster(3, flags=FLAGS, member_flags=member_flags) as cluster:
            member = cluster.members[0]
            lead(cluster, 1)
            cluster.kill(0)
            with Client(cluster.endpoints[1]) as client:
                for n in range(200):
                    client.put(b"k%03d" % n, os.urandom(100_000))
                incoming = disk.path / "data" / "member" / "snapshots" / "incoming"
                disk.fill(leaving=10_000_000)
                cluster.restart(0)
                wait_until(lambda: "No space left" in member.log_of_this_run())
                assert not installed(member)
                # The others go on.
                revision = client.put(b"meanwhile").header.revision
                disk.empty()
                wait_until(lambda: installed(member))
                cluster.wait_healthy()
                with Client(member.endpoint) as other:
                    wait_applied(other, revision)
                    assert other.hash_kv(revision).hash == client.hash_kv(revision).hash
                assert not incoming.exists()


def grown(client: Client) -> bool:
    """Write something, if that is possible: deletions are let through on a nearly full disk."""
    with contextlib.suppress(Refused):
        client.put(b"large", os.urandom(1 << 19), timeout=1)
    for _ in range(20):
        with contextlib.suppress(Refused):
            client.delete(b"large")
    return True


def test_a_file_for_a_client_leaves_the_disk_to_the_member(tmp_path: Path) -> None:
    with SmallDisk(tmp_path / "disk", 400) as disk:
        flags = {0: [f"--data-dir={disk.path / 'data'}"]}
        with (
            LocalCluster(1, member_flags=flags) as cluster,
            Client(cluster.endpoints[0]) as client,
        ):
            for number in range(24):
                client.put(b"%d" % number, os.urandom(1 << 20))
            # (The first checkpoint flushes the memtables, which frees their log.)
            assert len(save(client)) > 24 << 20
            exports = disk.path / "data" / "member" / "exports"
            # (The file that is kept for the next one goes.)
            disk.fill(leaving=2 * RESERVE + (10 << 20))
            wait_until(lambda: not list(exports.iterdir()))
            disk.fill(leaving=2 * RESERVE + (10 << 20))
            with pytest.raises(grpc.RpcError) as error:
                save(client)
            assert "No space left on device" in refusal(error.value).message
            client.put(b"k", b"v")
            assert not list(exports.iterdir())
            disk.empty()
            assert len(save(client)) > 24 << 20
