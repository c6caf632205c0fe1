"""A restore to any revision between backups, from the archive that the leader of three writes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.local import LocalCluster, rusd_command
from rusd.proto import kv_pb2
from rusd.proto import rpc_pb2 as rpc
from rusd.state.machine import StateMachine
from rusd.utl.command import main
from tests.support.client import Client
from tests.support.disk import SmallDisk
from tests.support.snapshots import hash_kv, rusdutl
from tests.support.waiting import wait

Keys = dict[bytes, tuple[bytes, int, int]]

INTERVALS = ["--backup-interval=1h", "--backup-archive-interval=1s"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("archive")


@pytest.fixture(scope="module")
def three(shared: Path) -> Iterator[LocalCluster]:
    flags = [*INTERVALS, f"--backup-dir={shared}", "--initial-cluster-token=restored"]
    with LocalCluster(3, flags=flags) as cluster:
        yield cluster


def page(cluster: LocalCluster, index: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(cluster.members[index].client_url + path, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def sample(cluster: LocalCluster, index: int, name: str) -> float:
    found = re.search(
        rf"^rusd_backup_archive_{name} (\S+)$", page(cluster, index, "/metrics")[1], re.M
    )
    return float(found[1]) if found is not None else -1.0


def archived(cluster: LocalCluster, index: int, reached: int) -> None:
    """Wait until the archive has all entries up to one."""

    def look() -> bool | None:
        return sample(cluster, index, "last_index") >= reached or None

    wait(look, lambda: "\n".join(each.log_tail() for each in cluster.members), 30)


def keys_of(client: Client) -> Keys:
    found = client.range(b"\0", b"\0").kvs
    return {each.key: (each.value, each.mod_revision, each.lease) for each in found}


class History:
    """What the keys were at each revision, written down by the only client that writes."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.keys: dict[int, Keys] = {}

    def note(self, revision: int) -> int:
        self.keys[revision] = keys_of(self.client)
        return revision

    def write(self, name: str, count: int) -> int:
        """Puts, deletes, transactions and leases."""
        for number in range(count):
            key = f"{name}{number % 7}".encode()
            lease = self.client.grant(600).ID
            self.note(self.client.put(key, os.urandom(8), lease=lease).header.revision)
            if number % 4 == 1:
                self.note(self.client.delete(key).header.revision)
            if number % 4 == 2:
                self.client.revoke(lease)
                self.note(self.client.range(b"k").header.revision)
            request = rpc.TxnRequest()
            for part in (b"x", b"y"):
                put = request.success.add().request_put
                put.key, put.value = key + part, b"%d" % number
            self.note(self.client.txn(request).header.revision)
        return max(self.keys)


def restored_to(revision: int, archive: Path, directory: Path) -> Keys:
    """The keys of a data directory that is restored to a revision."""
    flags = ["--from-archive", str(archive), "--to-revision", str(revision)]
    assert main(["snapshot", "restore", *flags, "--data-dir", str(directory)]) == 0
    machine = StateMachine(directory / "member" / "state")
    try:
        assert machine.store.revision == revision
        found = machine.store.range(rpc.RangeRequest(key=b"\0", range_end=b"\0")).kvs
        keys = [kv_pb2.KeyValue.FromString(encoded) for encoded in found]
        return {each.key: (each.value, each.mod_revision, each.lease) for each in keys}
    finally:
        machine.close()


@pytest.fixture(scope="module")
def history(three: LocalCluster, shared: Path) -> History:
    """Writes, a backup, writes, a compaction, writes, the death of the leader, writes; archived."""
    leader = three.leader()
    with Client(three.endpoints[leader]) as client:
        first = client.put(b"first", b"v").header.revision
        wait(lambda: list(shared.glob("*.db")) or None, "no backup", 30)
        history = History(client)
        history.note(first)
        middle = history.write("a", 12)
        client.compact(middle, physical=True)
        history.write("b", 6)
        reached = client.status().raftAppliedIndex
        archived(three, leader, reached)
    three.kill(leader)
    with Client(three.endpoints[three.wait_leader()]) as client:
        history.client = client
        history.write("c", 6)
        reached = client.status().raftAppliedIndex
        archived(three, three.leader(), reached)
    three.restart(leader)
    return history


def test_any_revision_behind_a_backup_is_restored_also_below_a_compaction(
    history: History, shared: Path, tmp_path: Path
) -> None:
    assert len(list(shared.glob("*.db"))) == 1, "the next leader goes on behind the same backup"
    revisions = sorted(history.keys)
    for revision in (*revisions[::7], revisions[-1]):
        then = restored_to(revision, shared, tmp_path / str(revision))
        assert then == history.keys[revision], revision


def test_a_revision_that_the_archive_does_not_reach_is_refused_also_across_a_gap(
    history: History, shared: Path, tmp_path: Path
) -> None:
    last = max(history.keys)

    def refused(archive: Path, revision: int) -> str:
        flags = ("--from-archive", archive, "--to-revision", str(revision))
        done = rusdutl("snapshot", "restore", *flags, "--data-dir", tmp_path / "data")
        assert done.returncode == 1
        assert not (tmp_path / "data" / "member").exists()
        return done.stderr

    assert f"ends with revision {last}" in refused(shared, last + 1)
    shutil.copytree(shared, tmp_path / "archive")
    files = sorted((tmp_path / "archive").glob("*.log"), key=lambda path: path.stat().st_mtime)
    assert len(files) > 1, "each leader wrote one at least"
    files[-2].unlink()
    assert "the archive has a gap: no entries" in refused(tmp_path / "archive", last)


def test_a_restored_cluster_serves_the_revision_and_begins_an_archive_of_its_own(
    three: LocalCluster, history: History, shared: Path, tmp_path: Path
) -> None:
    revision = sorted(history.keys)[len(history.keys) // 2]
    three.stop_all()
    everyone = ",".join(f"{one.name}={one.peer_url}" for one in three.members)
    for index, member in enumerate(three.members):
        shutil.rmtree(member.data_dir)
        flags = [f"--from-archive={shared}", f"--to-revision={revision}"]
        flags += [f"--data-dir={member.data_dir}", f"--name={member.name}"]
        flags += [f"--initial-cluster={everyone}", "--initial-cluster-token=restored"]
        flags += [f"--initial-advertise-peer-urls={member.peer_url}"]
        assert main(["snapshot", "restore", *flags]) == 0
        three.set_flags(index, ["--backup-interval=2s", "--backup-retention=count=1000"])
    before = set(shared.glob("*.db"))
    three.start_all()
    three.wait_healthy()
    hashes = set()
    for endpoint in three.endpoints:
        with Client(endpoint) as client:
            assert keys_of(client) == history.keys[revision]
            hashes.add(hash_kv(client))
    assert len(hashes) == 1
    wait(lambda: set(shared.glob("*.db")) - before or None, "no backup of the new log", 30)
    leader = three.leader()
    with Client(three.endpoints[leader]) as client:
        again = History(client)
        last = again.write("d", 8)
        reached = client.status().raftAppliedIndex
    archived(three, leader, reached)
    three.stop_all()
    for each in (last - 9, last):
        assert restored_to(each, shared, tmp_path / str(each)) == again.keys[each]


def test_a_leader_that_is_killed_just_after_a_backup_goes_on_behind_it(tmp_path: Path) -> None:
    place = tmp_path / "backups"
    with LocalCluster(1, flags=[*INTERVALS, f"--backup-dir={place}"]) as cluster:
        with Client(cluster.endpoints[0]) as client:
            client.put(b"k", b"v")
        wait(lambda: list(place.glob("*.log")) or None, "no first segment", 30)
        cluster.kill(0)
        cluster.restart(0)
        cluster.wait_healthy()
        with Client(cluster.endpoints[0]) as client:
            history = History(client)
            first = history.note(client.put(b"k", b"after").header.revision)
            last = history.note(client.put(b"k", b"last").header.revision)
            client.compact(last, physical=True)
            archived(cluster, 0, client.status().raftAppliedIndex)
        assert len(list(place.glob("*.db"))) == 1
    for revision in (first, last):
        then = restored_to(revision, place, tmp_path / str(revision))
        assert then == history.keys[revision]


#: rusd with a clock that is two days ahead.
AHEAD = """
import sys, time
real = time.time
time.time = lambda: real() + 2 * 86400
from rusd.cli import console
sys.exit(console())
"""


def test_a_clock_that_was_set_back_does_not_hide_the_last_backup(tmp_path: Path) -> None:
    place = tmp_path / "backups"
    flags = [*INTERVALS, f"--backup-dir={place}", "--initial-cluster-token=restored"]

    def backups(count: int) -> list[Path]:
        def look() -> list[Path] | None:
            found = sorted(place.glob("*.db"))
            return found if len(found) == count else None

        return wait(look, "no backup", 30)

    with (
        LocalCluster(1, binary=[sys.executable, "-c", AHEAD], flags=flags) as cluster,
        Client(cluster.endpoints[0]) as client,
    ):
        client.put(b"k", b"ahead")
        (ahead,) = backups(1)
        client.put(b"k", b"behind it")
        archived(cluster, 0, client.status().raftAppliedIndex)
        cluster.stop(0)
        cluster.set_binary(0, rusd_command())
        cluster.restart(0)
        cluster.wait_healthy()
        client.put(b"k", b"before the second backup")
        right, last = backups(2)
        assert last == ahead
        newest = client.put(b"k", b"newest").header.revision
        archived(cluster, 0, client.status().raftAppliedIndex)

    def restored(*flags: str | Path) -> subprocess.CompletedProcess[str]:
        shutil.rmtree(tmp_path / "data", ignore_errors=True)
        return rusdutl("snapshot", "restore", *flags, "--data-dir", tmp_path / "data")

    hint = f"begin with it by 'rusdutl snapshot restore {right.name} --from-archive={place}'"
    # The segments of both tell that they are of one log.
    for flags in ([], ["--to-revision", str(newest)]):
        whole = restored("--from-archive", place, *flags)
        assert (whole.returncode, whole.stderr) == (0, "")
        assert f": revision {newest}, " in whole.stdout
    for path in place.glob(f"{ahead.stem}-*.log"):
        path.unlink()
    warned = restored("--from-archive", place)
    assert (warned.returncode, hint in warned.stderr) == (0, True)
    refused = restored("--from-archive", place, "--to-revision", str(newest))
    assert (refused.returncode, hint in refused.stderr) == (1, True)
    chosen = restored(right.name, "--from-archive", place)
    assert (chosen.returncode, chosen.stderr) == (0, "")
    assert f": revision {newest}, " in chosen.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_is_told_and_the_archive_goes_on_when_there_is_room(tmp_path: Path) -> None:
    with SmallDisk(tmp_path / "disk", 4) as disk:
        flags = [*INTERVALS, f"--backup-dir={disk.path}"]
        with LocalCluster(1, flags=flags) as cluster, Client(cluster.endpoints[0]) as client:
            wait(lambda: list(disk.path.glob("*.db")) or None, "no backup", 30)
            disk.fill(leaving=65_536)
            written = History(client)
            for number in range(5):
                written.note(client.put(b"%d" % number, os.urandom(100_000)).header.revision)
            wait(lambda: sample(cluster, 0, "failures_total") > 0 or None, "no failure", 30)
            wait(lambda: page(cluster, 0, "/readyz/archive")[0] == 503 or None, "no report", 30)
            assert "No space left on device" in page(cluster, 0, "/readyz/archive")[1]
            assert page(cluster, 0, "/readyz?verbose")[0] == 200
            last = written.note(client.put(b"k", b"v").header.revision)
            disk.empty()
            archived(cluster, 0, client.status().raftAppliedIndex)
            wait(lambda: page(cluster, 0, "/readyz/archive")[0] == 200 or None, "behind", 30)
            assert not list(disk.path.glob("*.partial"))
        found = restored_to(last - 1, disk.path, tmp_path / "data")
        assert found == written.keys[last - 1]
