"""Backups by the leader of three members, and what a restore makes of one."""

from __future__ import annotations

import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.local import LocalCluster
from tests.support.client import Client
from tests.support.disk import SmallDisk
from tests.support.s3 import s3_client, s3_store
from tests.support.snapshots import hash_kv, restore, rusdutl
from tests.support.waiting import wait

READY = "ready to serve client requests"
KEPT = 2


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("backups")


@pytest.fixture(scope="module")
def three(shared: Path) -> Iterator[LocalCluster]:
    flags = ["--backup-interval=1s", f"--backup-dir={shared}", f"--backup-retention=count={KEPT}"]
    with LocalCluster(3, flags=[*flags, "--initial-cluster-token=restored"]) as cluster:
        yield cluster


def prefix(cluster: LocalCluster) -> str:
    """What its backups begin with; a start that lost its port may have left others."""
    with Client(cluster.endpoints[cluster.leader()]) as client:
        return f"rusd-{client.status().header.cluster_id:016x}-"


def names(cluster: LocalCluster, directory: Path) -> list[str]:
    return sorted(each.name for each in directory.glob(prefix(cluster) + "*.db"))


def revision_of(name: str) -> int:
    found = re.fullmatch(r"rusd-[0-9a-f]{16}-\d{8}T\d{6}Z-r(\d+)\.db", name)
    assert found is not None, name
    return int(found[1])


def backed_up(cluster: LocalCluster, directory: Path, revision: int) -> Path:
    """Wait for a backup that holds a revision."""

    def look() -> Path | None:
        found = names(cluster, directory)
        if found and revision_of(found[-1]) >= revision:
            return directory / found[-1]
        return None

    return wait(look, lambda: "\n".join(each.log_tail() for each in cluster.members), 60)


def page(cluster: LocalCluster, index: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(cluster.members[index].client_url + path, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def samples(cluster: LocalCluster, index: int) -> dict[str, float]:
    _, text = page(cluster, index, "/metrics")
    return {
        name: float(value) for name, value in re.findall(r"^(rusd_backup\w+) (\S+)$", text, re.M)
    }


def writers(cluster: LocalCluster) -> set[int]:
    """The members that made a backup since they started."""
    made = '"msg":"made a backup"'
    return {n for n, each in enumerate(cluster.members) if made in each.log_of_this_run()}


def test_the_leader_makes_backups_and_keeps_the_newest(three: LocalCluster, shared: Path) -> None:
    mine = shared / "mine.db"
    mine.touch()
    with Client(three.endpoints[three.leader()]) as client:
        for number in range(KEPT + 1):
            revision = client.put(b"k%d" % number, b"v").header.revision
            backed_up(three, shared, revision)
    wait(lambda: True if len(names(three, shared)) == KEPT else None, "not removed", 60)
    assert mine.exists()
    logged = "".join(each.log_of_this_run() for each in three.members).splitlines()
    assert any("removed a backup" in line for line in logged)
    for fields in (json.loads(line) for line in logged if "made a backup" in line):
        assert revision_of(Path(fields["path"]).name) == fields["revision"]
        assert fields["total-bytes"] > 4096
    leader = three.leader()
    shown = wait(lambda: told(three, leader, revision), "no metrics of it", 60)
    assert shown["rusd_backups_total"] > KEPT
    assert shown["rusd_backup_failures_total"] == 0
    assert shown["rusd_backup_last_size_bytes"] > 4096
    assert shown["rusd_backup_last_duration_seconds"] > 0
    ready = (200, READY_PAGE)
    wait(lambda: page(three, leader, "/readyz?verbose") == ready or None, "not ready", 60)


READY_PAGE = (
    "[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\n[+]non_learner ok\n"
    "[+]backup ok\nok\n"
)


def test_every_members_console_shows_the_backups_of_the_leader(three: LocalCluster) -> None:
    def shown(index: int) -> dict[str, Any] | None:
        found = json.loads(page(three, index, "/console/api/cluster")[1])["backups"]
        # (They are due every second: on a busy machine one may be overdue for a while.)
        return found if found and found["time"] and not found["overdue"] else None

    for index in range(3):
        backup = wait(lambda n=index: shown(n), "no backup shown", 60)
        assert int(backup["revision"]) > 0 and int(backup["size"]) > 4096
        assert (backup["failures"], backup["archive_behind"]) == (0, None)


def told(cluster: LocalCluster, index: int, revision: int) -> dict[str, float] | None:
    """The metrics, once the last backup is of a revision and none is overdue."""
    shown = samples(cluster, index)
    made = shown.get("rusd_backup_last_revision") == revision
    return shown if made and not shown["rusd_backup_overdue"] else None


def test_another_member_goes_on_when_the_leader_is_killed(
    three: LocalCluster, shared: Path
) -> None:
    killed = three.leader()
    # (A draft as a member leaves it that is killed in the middle.)
    with Client(three.endpoints[killed]) as client:
        client.put(b"before", b"v")
        member_id = client.status().header.member_id
    draft = shared / f"{prefix(three)}{member_id:016x}.partial"
    three.kill(killed)
    draft.write_bytes(b"half")
    leader = three.wait_leader()
    with Client(three.endpoints[leader]) as client:
        revision = client.put(b"after", b"v").header.revision
    backed_up(three, shared, revision)
    # (A backup has its name a moment before the log tells of it.)
    wait(lambda: leader in writers(three) or None, "the leader did not make it", 60)
    assert draft.exists()
    three.restart(killed)
    wait(lambda: None if draft.exists() else True, "the draft is still there", 60)
    three.wait_healthy()


def test_a_backup_restores_to_any_revision_that_it_holds_and_to_no_other(
    three: LocalCluster, shared: Path, tmp_path: Path
) -> None:
    with Client(three.endpoints[three.leader()]) as client:
        for number in range(5):
            revision = client.put(b"k", b"%d" % number).header.revision
    file = backed_up(three, shared, revision)
    newest = revision_of(file.name)
    for until, told in ((revision - 3, f"revision {revision - 3}, "), (newest + 1, "ends with")):
        flags = ("--data-dir", tmp_path / str(until), "--to-revision", str(until))
        done = rusdutl("snapshot", "restore", file, *flags)
        assert told in done.stdout + done.stderr
        assert done.returncode == (until > newest)


def test_a_restored_backup_serves_the_same_keys(three: LocalCluster, shared: Path) -> None:
    with Client(three.endpoints[three.leader()]) as client:
        for number in range(100):
            revision = client.put(b"r%d" % (number % 40), b"%d" % number).header.revision
        before = hash_kv(client), client.range(b"r", b"s").kvs
    file = backed_up(three, shared, revision)
    shown = json.loads(rusdutl("snapshot", "status", "-w", "json", file).stdout)
    assert shown["revision"] == revision
    three.stop_all()
    for index in range(3):
        restore(three, index, file)
    three.start_all()
    three.wait_healthy()
    for endpoint in three.endpoints:
        with Client(endpoint) as client:
            assert (hash_kv(client), client.range(b"r", b"s").kvs) == before
    # With the same token and URLs it is the same cluster to its backups, and goes on with them.
    assert file.name.startswith(prefix(three))
    wait(lambda: writers(three) or None, "no backup of the restored cluster", 60)


def test_backups_go_to_a_bucket_and_the_oldest_leave_it(tmp_path: Path) -> None:
    with s3_store("backups") as settings:
        client = s3_client(settings)
        client.put_object(Bucket="backups", Key="mine/other", Body=b"")
        flags = ["--backup-interval=1s", "--backup-dir=s3://backups/mine"]
        flags += ["--backup-retention=count=1"]

        def only(revision: int) -> str | None:
            """The key of the only backup, if it holds a revision."""
            stored = client.list_objects_v2(Bucket="backups", Prefix=f"mine/{own}")
            found = [each["Key"] for each in stored.get("Contents", ())]
            if len(found) != 1 or revision_of(found[0].removeprefix("mine/")) < revision:
                return None
            return str(found[0])

        with (
            LocalCluster(1, flags=flags, env=settings) as cluster,
            Client(cluster.endpoints[0]) as leader,
        ):
            own = prefix(cluster)
            member = cluster.members[0]
            wait(lambda: only(1), member.log_tail, 60)
            revision = leader.put(b"k", b"v").header.revision
            key = wait(lambda: only(revision), member.log_tail, 60)
            assert f"s3://backups/{key}" in member.log_of_this_run()
            cluster.stop(0)
            drafts = member.data_dir / "member" / "exports" / "backup"
            assert not list(drafts.iterdir())
        file = tmp_path / "backup.db"
        client.download_file("backups", wait(lambda: only(revision), key, 5), str(file))
        shown = json.loads(rusdutl("snapshot", "status", "-w", "json", file).stdout)
        assert shown["revision"] == revision


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_fails_backups_and_nothing_else(tmp_path: Path) -> None:
    with SmallDisk(tmp_path / "disk", 4) as disk:
        flags = ["--backup-interval=1s", f"--backup-dir={disk.path}", "--backup-retention=count=1"]
        with (
            LocalCluster(1, flags=flags) as cluster,
            Client(cluster.endpoints[0]) as client,
        ):
            good = backed_up(cluster, disk.path, 1)
            disk.fill(leaving=65_536)
            for number in range(10):
                revision = client.put(b"%d" % number, os.urandom(100_000)).header.revision
            log = cluster.members[0].log_of_this_run
            wait(
                lambda: "No space left on device" in log() or None, cluster.members[0].log_tail, 60
            )
            kept = names(cluster, disk.path)
            assert len(kept) == 1
            assert kept[0] >= good.name
            wait(lambda: samples(cluster, 0)["rusd_backup_overdue"] or None, "not overdue", 60)
            assert page(cluster, 0, "/readyz?verbose")[0] == 200
            assert page(cluster, 0, "/health") == (200, '{"health":"true","reason":""}')
            status, text = page(cluster, 0, "/readyz/backup")
            assert status == 503
            assert "No space left on device" in text
            assert not list(disk.path.glob("*.partial"))
            disk.empty()
            assert backed_up(cluster, disk.path, revision)
            client.put(b"k", b"v")
            wait(lambda: page(cluster, 0, "/readyz/backup")[0] == 200 or None, "overdue", 60)
